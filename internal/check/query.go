package check

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/api"
	prometheus "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"

	"github.com/crossfade-dev/crossfade/internal/fault"
	"github.com/crossfade-dev/crossfade/internal/spec"
	"github.com/crossfade-dev/crossfade/internal/spec/rule"
)

// queryProbe prepares a query. Each try uses a connection of its own.
func queryProbe(name string, q spec.QueryCheck, t Target) (func(context.Context) (string, error), error) {
	holds, err := rule.ParseCondition(q.Holds)
	if err != nil {
		return nil, err
	}
	address, err := expand(q.URL, t)
	if err != nil {
		return nil, err
	}
	query, err := expand(q.Query, t)
	if err != nil {
		return nil, err
	}
	client, err := api.NewClient(api.Config{Address: address, Client: &http.Client{
		Transport: &http.Transport{DisableKeepAlives: true, Proxy: http.ProxyFromEnvironment}, Timeout: requestTimeout,
	}})
	if err != nil {
		return nil, err
	}
	server := prometheus.NewAPI(client)
	return func(ctx context.Context) (string, error) {
		answer, _, err := server.Query(ctx, query, time.Now())
		if wrong := new(prometheus.Error); errors.As(err, &wrong) && wrong.Type == prometheus.ErrBadData {
			return "", fault.New(fault.Invalid, "check %s: %s", name, wrong.Msg).WithHint("correct the query in the configuration")
		}
		if err != nil {
			return "", err
		}
		samples, err := samplesOf(name, answer)
		if err != nil {
			return "", err
		}
		return judge(samples, holds)
	}, nil
}

// samplesOf are the values of an answer, each with the labels that tell it from the others.
func samplesOf(name string, answer model.Value) (model.Vector, error) {
	switch v := answer.(type) {
	case model.Vector:
		return v, nil
	case *model.Scalar:
		return model.Vector{{Value: v.Value}}, nil
	}
	return nil, fault.New(fault.Invalid, "check %s: the query has a %s for an answer, not values at one time", name, answer.Type()).
		WithHint("ask for one value of each series, as with rate(...[1m])")
}

// judge wants every value to hold.
func judge(samples model.Vector, holds *rule.Condition) (string, error) {
	if len(samples) == 0 {
		return "", fmt.Errorf("the query has no value for an answer")
	}
	for _, s := range samples {
		good, err := holds.Holds(float64(s.Value))
		if err != nil {
			return "", err
		}
		if !good {
			return "", fmt.Errorf("%s does not hold: %s%v", holds, labels(s), s.Value)
		}
	}
	if len(samples) == 1 {
		return fmt.Sprintf("%s%v", labels(samples[0]), samples[0].Value), nil
	}
	return fmt.Sprintf("%d values hold", len(samples)), nil
}

// labels are those of a value, for people.
func labels(s *model.Sample) string {
	if len(s.Metric) == 0 {
		return ""
	}
	return s.Metric.String() + " is "
}
