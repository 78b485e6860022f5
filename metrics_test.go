package mske

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/miekg/dns"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil/promlint"
	dto "github.com/prometheus/client_model/go"

	"github.com/coredns-mske/mske/fetch"
)

// metricLabels are the metrics of this plugin and their labels. Dashboards are
// built on them: they are not changed.
var metricLabels = map[string][]string{
	"coredns_mske_responses_total":                    {"kind", "qtype", "server", "view"},
	"coredns_mske_fetches_total":                      {"status"},
	"coredns_mske_fetch_duration_seconds":             nil,
	"coredns_mske_zones":                              {"phase"},
	"coredns_mske_announcements_stale":                nil,
	"coredns_mske_signature_expiry_timestamp_seconds": nil,
	"coredns_mske_last_collection_timestamp_seconds":  nil,
}

// gather returns our metrics, each with a value.
func gather(t *testing.T) []*dto.MetricFamily {
	t.Helper()
	new(counts).count(t.Context(), kindApex, dns.TypeDNSKEY)
	observer{}.Fetched(fetch.Secure, time.Second)
	all, err := prometheus.DefaultGatherer.Gather()
	if err != nil {
		t.Fatal(err)
	}
	return slices.DeleteFunc(all, func(f *dto.MetricFamily) bool { return !strings.HasPrefix(f.GetName(), "coredns_mske_") })
}

func TestMetricsHaveTheNamesThatAreDocumented(t *testing.T) {
	families := gather(t)
	seen := make(map[string]bool)
	for _, f := range families {
		name := f.GetName()
		seen[name] = true
		want, ok := metricLabels[name]
		if !ok {
			t.Errorf("Metric %s is not in the list", name)
			continue
		}
		var labels []string
		for _, l := range f.GetMetric()[0].GetLabel() {
			labels = append(labels, l.GetName())
		}
		if !slices.Equal(labels, want) {
			t.Errorf("%s: expected the labels %q, got %q", name, want, labels)
		}
	}
	for name := range metricLabels {
		if !seen[name] {
			t.Errorf("Metric %s is not there", name)
		}
	}
}

func TestMetricsFollowPrometheusConventions(t *testing.T) {
	problems, err := promlint.NewWithMetricFamilies(gather(t)).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range problems {
		t.Errorf("%s: %s", p.Metric, p.Text)
	}
}

func TestTypeLabelIsBounded(t *testing.T) {
	values := make(map[string]bool)
	for qtype := range 1 << 16 {
		values[typeLabelOf(uint16(qtype)).String()] = true
	}
	if len(values) != len(labelled)+1 || !values["other"] {
		t.Errorf("Expected %d values, got %d", len(labelled)+1, len(values))
	}
}

func TestTimestamp(t *testing.T) {
	for _, tt := range []struct {
		t    time.Time
		want float64
	}{
		{time.Time{}, 0},
		{time.Unix(1700000000, 500e6), 1700000000.5},
	} {
		if got := timestamp(tt.t); fmt.Sprint(got) != fmt.Sprint(tt.want) {
			t.Errorf("Expected %v, got %v", tt.want, got)
		}
	}
}

func TestReadmeListsTheMetrics(t *testing.T) {
	text, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	_, section, ok := strings.Cut(string(text), "\n## Metrics\n")
	if !ok {
		t.Fatal("Expected README.md to have a section on metrics")
	}
	for name, labels := range metricLabels {
		documented := "`" + name
		if len(labels) > 0 {
			documented += "{"
		} else {
			documented += "`"
		}
		if !strings.Contains(section, documented) {
			t.Errorf("README.md does not list %s with its labels", name)
		}
	}
}

// What different servers answer, for different views, is counted apart.
func TestResponsesAreCountedApart(t *testing.T) {
	var c counts
	label := typeLabelOf(dns.TypeCDS)
	places := [][2]string{{"dns://192.0.2.1:53", ""}, {"dns://192.0.2.2:53", ""}, {"dns://192.0.2.1:53", "inside"}}
	for i, p := range places {
		for range i + 1 {
			c.add(p[0], p[1], kindApex, label).Inc()
			c.add(p[0], p[1], kindDenial, label).Inc()
		}
	}
	if n := len(*c.made.Load()); n != len(places) {
		t.Errorf("Expected the counters of %d servers and views, got %d", len(places), n)
	}
	for _, k := range *c.made.Load() {
		i := slices.Index(places, [2]string{k.server, k.view})
		for _, kind := range []kind{kindApex, kindDenial} {
			for _, counter := range []prometheus.Counter{k.of[kind][label], responses.WithLabelValues(k.server, k.view, kindLabels[kind], "CDS")} {
				var m dto.Metric
				if err := counter.Write(&m); err != nil || m.GetCounter().GetValue() != float64(i+1) {
					t.Errorf("%s for view %q, kind %s: expected %d responses, got %v, %v", k.server, k.view, kindLabels[kind], i+1, &m, err)
				}
			}
		}
	}
}
