package engine

import (
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"errors"
	"fmt"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/sdk/converter"
	"google.golang.org/protobuf/proto"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// encrypted is the encoding that marks an encrypted payload.
const encrypted = "binary/encrypted"

// codec encrypts every payload with AES-256-GCM (NIST SP 800-38D): nonce, then ciphertext of the whole payload. Secrets have
// no business in payloads at all; this guards whatever else is in them from whoever reads the database or operates the cluster.
type codec struct{ aead cipher.AEAD }

var _ converter.PayloadCodec = codec{}

func newCodec(key []byte) (codec, error) {
	if len(key) != 32 {
		return codec{}, fault.New(fault.Failed, "cannot use the payload key: it has %d bytes instead of 32", len(key)).
			WithHint("restore payload.key in the state directory from a backup; without it open runs cannot be read")
	}
	block, err := aes.NewCipher(key)
	if err != nil {
		return codec{}, fault.New(fault.Failed, "cannot use the payload key: %w", err)
	}
	aead, err := cipher.NewGCM(block)
	if err != nil {
		return codec{}, fault.New(fault.Failed, "cannot use the payload key: %w", err)
	}
	return codec{aead: aead}, nil
}

// Encode encrypts payloads.
func (c codec) Encode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		plain, err := proto.Marshal(p)
		if err != nil {
			return nil, fmt.Errorf("cannot encode a payload: %w", err)
		}
		nonce := make([]byte, c.aead.NonceSize(), c.aead.NonceSize()+len(plain)+c.aead.Overhead())
		if _, err := rand.Read(nonce); err != nil {
			return nil, fmt.Errorf("cannot encrypt a payload: %w", err)
		}
		out[i] = &commonpb.Payload{
			Metadata: map[string][]byte{converter.MetadataEncoding: []byte(encrypted)},
			Data:     c.aead.Seal(nonce, nonce, plain, nil),
		}
	}
	return out, nil
}

// Decode decrypts payloads. One that is not encrypted is passed on: tools of Temporal may have sent it.
func (c codec) Decode(payloads []*commonpb.Payload) ([]*commonpb.Payload, error) {
	out := make([]*commonpb.Payload, len(payloads))
	for i, p := range payloads {
		if string(p.GetMetadata()[converter.MetadataEncoding]) != encrypted {
			out[i] = p
			continue
		}
		data := p.GetData()
		if len(data) < c.aead.NonceSize() {
			return nil, errors.New("cannot decrypt a payload: it is too short")
		}
		plain, err := c.aead.Open(nil, data[:c.aead.NonceSize()], data[c.aead.NonceSize():], nil)
		if err != nil {
			return nil, fmt.Errorf("cannot decrypt a payload, it was made with another key: %w", err)
		}
		out[i] = &commonpb.Payload{}
		if err := proto.Unmarshal(plain, out[i]); err != nil {
			return nil, fmt.Errorf("cannot decode a payload: %w", err)
		}
	}
	return out, nil
}
