package engine

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"

	commonpb "go.temporal.io/api/common/v1"
	"go.temporal.io/api/enums/v1"
	historypb "go.temporal.io/api/history/v1"
	"go.temporal.io/api/proxy"
	"go.temporal.io/api/temporalproto"
	"go.temporal.io/sdk/client"
	"go.temporal.io/sdk/converter"
	sdklog "go.temporal.io/sdk/log"
	"go.temporal.io/sdk/temporal"
	"go.temporal.io/sdk/worker"

	"github.com/crossfade-dev/crossfade/internal/fault"
)

// History returns everything the engine has about an execution as JSON, with decrypted payloads: what Replay takes.
func (e *Engine) History(ctx context.Context, x Execution) ([]byte, error) {
	history := &historypb.History{}
	events := e.client.GetWorkflowHistory(ctx, x.ID, x.Run, false, enums.HISTORY_EVENT_FILTER_TYPE_ALL_EVENT)
	for events.HasNext() {
		event, err := events.Next()
		if err != nil {
			return nil, callError(ctx, "read the history of", x.ID, err)
		}
		history.Events = append(history.Events, event)
	}
	err := proxy.VisitPayloads(ctx, history, proxy.VisitPayloadsOptions{
		Visitor: func(_ *proxy.VisitPayloadsContext, p []*commonpb.Payload) ([]*commonpb.Payload, error) {
			return e.codec.Decode(p)
		},
		SkipSearchAttributes: true,
	})
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot read the history of %s: %w", x.ID, err)
	}
	raw, err := temporalproto.CustomJSONMarshalOptions{Indent: "  "}.Marshal(history)
	if err != nil {
		return nil, fault.New(fault.Failed, "cannot encode the history of %s: %w", x.ID, err)
	}
	return raw, nil
}

// Replay runs registered workflows against a stored history, and fails when they would do anything else today than what the
// history says: then an open run could not be resumed by this program.
func Replay(history []byte, register func(worker.WorkflowRegistry)) error {
	data := converter.GetDefaultDataConverter()
	replayer, err := worker.NewWorkflowReplayerWithOptions(worker.WorkflowReplayerOptions{
		DataConverter: data,
		FailureConverter: temporal.NewDefaultFailureConverter(temporal.DefaultFailureConverterOptions{
			DataConverter: data, EncodeCommonAttributes: true,
		}),
	})
	if err != nil {
		return fmt.Errorf("cannot make a replayer: %w", err)
	}
	register(replayer)
	events, err := client.HistoryFromJSON(bytes.NewReader(history), client.HistoryJSONOptions{})
	if err != nil {
		return fmt.Errorf("cannot read the history: %w", err)
	}
	return replayer.ReplayWorkflowHistory(sdklog.NewStructuredLogger(slog.New(slog.DiscardHandler)), events)
}
