package azure

import (
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/dns/armdns"
	wire "github.com/miekg/dns"

	"github.com/crossfade-dev/crossfade/internal/traffic/dns"
)

// ref is a pointer to a value.
func ref[T any](value T) *T { return &value }

// deref is what a pointer of Azure points to, or nothing.
func deref[T any](pointer *T) T {
	if pointer == nil {
		var nothing T
		return nothing
	}
	return *pointer
}

// recordsOf are the records of sets that routes have, too.
func recordsOf(sets map[dns.Set]*armdns.RecordSet) dns.Records {
	all := dns.Records{}
	for at, set := range sets {
		for _, value := range values(set.Properties) {
			rr, err := dns.Record(at.Name, at.Kind, uint32(deref(set.Properties.TTL)), value)
			if err != nil {
				continue // of a type that no route has
			}
			all.Add(rr)
		}
	}
	return all
}

// values are what the records of a set say, of the types that a route, a proof or a list of name servers has.
func values(p *armdns.RecordSetProperties) []string {
	var all []string
	for _, r := range p.ARecords {
		all = append(all, deref(r.IPv4Address))
	}
	for _, r := range p.AaaaRecords {
		all = append(all, deref(r.IPv6Address))
	}
	if p.CnameRecord != nil {
		all = append(all, deref(p.CnameRecord.Cname))
	}
	for _, r := range p.NsRecords {
		all = append(all, deref(r.Nsdname))
	}
	for _, r := range p.TxtRecords {
		text := ""
		for _, part := range r.Value {
			text += deref(part)
		}
		all = append(all, text)
	}
	return all
}

// propertiesOf are records of one set as Azure has them.
func propertiesOf(rrs []wire.RR) *armdns.RecordSetProperties {
	p := &armdns.RecordSetProperties{TTL: ref(int64(rrs[0].Header().Ttl))}
	for _, rr := range rrs {
		value := dns.Value(rr)
		switch rr := rr.(type) {
		case *wire.A:
			p.ARecords = append(p.ARecords, &armdns.ARecord{IPv4Address: &value})
		case *wire.AAAA:
			p.AaaaRecords = append(p.AaaaRecords, &armdns.AaaaRecord{IPv6Address: &value})
		case *wire.CNAME:
			p.CnameRecord = &armdns.CnameRecord{Cname: &value}
		case *wire.TXT:
			record := &armdns.TxtRecord{}
			for _, part := range rr.Txt {
				record.Value = append(record.Value, &part)
			}
			p.TxtRecords = append(p.TxtRecords, record)
		}
	}
	return p
}
