package mske

import (
	"sync"
	"time"

	"github.com/coredns/coredns/plugin"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"

	"github.com/coredns-mske/mske/fetch"
	"github.com/coredns-mske/mske/lifecycle"
	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/stack"
)

var (
	// responses counts the answers that are ours, in whole or in part.
	responses = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "responses_total",
		Help:      "Counter of responses made or corrected by mske.",
	}, []string{"server", "view", "kind", "qtype"})

	// fetches counts collections of one host's announcement for one zone.
	fetches = promauto.NewCounterVec(prometheus.CounterOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "fetches_total",
		Help:      "Counter of fetched announcements by verdict.",
	}, []string{"status"})

	// fetchDuration is the time that a collection took, whatever came of it.
	fetchDuration = promauto.NewHistogram(prometheus.HistogramOpts{
		Namespace:                   plugin.Namespace,
		Subsystem:                   pluginName,
		Name:                        "fetch_duration_seconds",
		Buckets:                     plugin.TimeBuckets,
		NativeHistogramBucketFactor: plugin.NativeHistogramBucketFactor,
		Help:                        "Histogram of the time it took to fetch and validate an announcement.",
	})
)

// phases are the values of the label phase.
var phases = lifecycle.Phases

func init() {
	for _, phase := range phases {
		promauto.NewGaugeFunc(prometheus.GaugeOpts{
			Namespace:   plugin.Namespace,
			Subsystem:   pluginName,
			Name:        "zones",
			ConstLabels: prometheus.Labels{"phase": string(phase)},
			Help:        "Number of zones in each phase.",
		}, func() float64 { return float64(running.status().Phases[string(phase)]) })
	}
	promauto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "announcements_stale",
		Help:      "Number of announcements in use that could not be renewed in time.",
	}, func() float64 { return float64(running.status().Stale) })
	promauto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "signature_expiry_timestamp_seconds",
		Help:      "Unix time at which the first of our signatures expires, 0 without any.",
	}, func() float64 { return timestamp(running.status().Expires) })
	promauto.NewGaugeFunc(prometheus.GaugeOpts{
		Namespace: plugin.Namespace,
		Subsystem: pluginName,
		Name:      "last_collection_timestamp_seconds",
		Help:      "Unix time of the last announcement collected, 0 before any.",
	}, func() float64 { return timestamp(running.status().LastCollection) })
}

// timestamp returns t in seconds of Unix time, the zero time as 0.
func timestamp(t time.Time) float64 {
	if t.IsZero() {
		return 0
	}
	return float64(t.UnixNano()) / float64(time.Second)
}

// observer takes the measures of the background work.
type observer struct{}

// Fetched implements the refresh.Observer interface.
func (observer) Fetched(v fetch.Verdict, took time.Duration) {
	fetches.WithLabelValues(v.String()).Inc()
	fetchDuration.Observe(took.Seconds())
}

// running holds the instances whose background work runs: one, but for the
// moment of a reload. The gauges read it when they are collected, so nothing
// of a configuration that is gone stays in them. While there is one, stacks are made
// for queries.
var running instances

type instances struct {
	mu     sync.Mutex
	set    map[*instance]bool
	stacks func() // ends that stacks are made for queries; nil while there is no instance
}

func (s *instances) add(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.set == nil {
		s.set = make(map[*instance]bool)
	}
	if s.stacks == nil {
		s.stacks = stack.ForQueries()
	}
	s.set[inst] = true
}

func (s *instances) remove(inst *instance) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.set, inst)
	if len(s.set) == 0 && s.stacks != nil {
		s.stacks()
		s.stacks = nil
	}
}

// status returns the sum of what the running instances say of themselves.
func (s *instances) status() refresh.Status {
	s.mu.Lock()
	defer s.mu.Unlock()
	sum := refresh.Status{Phases: make(map[string]int)}
	for inst := range s.set {
		st := inst.engine.Load().Status()
		for phase, n := range st.Phases {
			sum.Phases[phase] += n
		}
		sum.Stale += st.Stale
		if sum.Expires.IsZero() || !st.Expires.IsZero() && st.Expires.Before(sum.Expires) {
			sum.Expires = st.Expires
		}
		if st.LastCollection.After(sum.LastCollection) {
			sum.LastCollection = st.LastCollection
		}
	}
	return sum
}
