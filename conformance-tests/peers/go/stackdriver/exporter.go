// Package stackdriver stands in for the exporter of that name, which the Relay Proxy imports and the Go module proxy
// does not serve. The Relay that is built here sends no metrics to Stackdriver.
package stackdriver

import (
	"errors"

	"go.opencensus.io/stats/view"
	"go.opencensus.io/trace"
)

// Options of the real exporter, as far as the Relay sets them.
type Options struct{ MetricPrefix, ProjectID string }

// Exporter exports nothing.
type Exporter struct{}

// NewExporter refuses, so that nobody believes that metrics go anywhere.
func NewExporter(Options) (*Exporter, error) {
	return nil, errors.New("this build of the Relay has no Stackdriver exporter")
}

func (*Exporter) ExportView(*view.Data)      {}
func (*Exporter) ExportSpan(*trace.SpanData) {}
func (*Exporter) Flush()                     {}
