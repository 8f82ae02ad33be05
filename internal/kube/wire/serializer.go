package wire

import (
	"io"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Serializer has a client read and write unstructured objects with this package, and everything else, such as what the API says of
// errors, as it did before.
func Serializer(before runtime.NegotiatedSerializer) runtime.NegotiatedSerializer {
	return negotiated{before}
}

type negotiated struct{ runtime.NegotiatedSerializer }

// SupportedMediaTypes implements runtime.NegotiatedSerializer.
func (n negotiated) SupportedMediaTypes() []runtime.SerializerInfo {
	types := n.NegotiatedSerializer.SupportedMediaTypes()
	own := make([]runtime.SerializerInfo, len(types))
	for i, info := range types {
		if own[i] = info; info.MediaType == runtime.ContentTypeJSON {
			own[i].Serializer = serializer{info.Serializer}
		}
	}
	return own
}

// serializer is one for JSON.
type serializer struct{ runtime.Serializer }

// Decode implements runtime.Decoder.
func (s serializer) Decode(raw []byte, defaults *schema.GroupVersionKind, into runtime.Object) (runtime.Object, *schema.GroupVersionKind, error) {
	out, ours := into.(*unstructured.Unstructured)
	if into != nil && !ours {
		return s.Serializer.Decode(raw, defaults, into)
	}
	obj, err := Decode(raw)
	if err != nil {
		return nil, nil, err
	}
	if out == nil {
		out = &unstructured.Unstructured{}
	}
	out.Object = obj
	gvk := out.GroupVersionKind()
	if into == nil && gvk.Group == "" && gvk.Kind == "Status" {
		return s.Serializer.Decode(raw, defaults, nil)
	}
	return out, &gvk, nil
}

// Encode implements runtime.Encoder.
func (s serializer) Encode(obj runtime.Object, w io.Writer) error {
	u, ours := obj.(*unstructured.Unstructured)
	if !ours {
		return s.Serializer.Encode(obj, w)
	}
	raw, err := Encode(u.Object)
	if err != nil {
		return err
	}
	_, err = w.Write(raw)
	return err
}
