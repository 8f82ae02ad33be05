package record

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
)

// PutBlob keeps bytes, such as rendered manifests, and returns their digest, "sha256:" and hexadecimal. The same bytes are kept
// once, and encrypted.
func (s *Store) PutBlob(ctx context.Context, data []byte) (string, error) {
	sum := sha256.Sum256(data)
	digest := "sha256:" + hex.EncodeToString(sum[:])
	_, err := s.exec(ctx, "INSERT INTO blobs (digest, data) VALUES (?, ?) ON CONFLICT (digest) DO NOTHING", digest, s.sealer.seal(data))
	return digest, err
}

// Blob returns the bytes with the digest. The error is of code Invalid when there are none.
func (s *Store) Blob(ctx context.Context, digest string) ([]byte, error) {
	return one(s, s.db.QueryRowContext(ctx, "SELECT data FROM blobs WHERE digest = ?", digest), func(row scanner) (data []byte, err error) {
		if err := row.Scan(&data); err != nil {
			return nil, err
		}
		return s.sealer.open(data)
	}, "the blob "+digest)
}
