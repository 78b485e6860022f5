package mske

import (
	"runtime/debug"
	"testing"
	"time"

	"github.com/coredns-mske/mske/refresh"
	"github.com/coredns-mske/mske/serve"
)

func TestClockIsNeverBeforeTheSources(t *testing.T) {
	setting := func(key, value string) *debug.BuildInfo {
		return &debug.BuildInfo{Settings: []debug.BuildSetting{{Key: "vcs", Value: "git"}, {Key: key, Value: value}}}
	}
	commit := released.AddDate(0, 3, 0)
	for _, tc := range []struct {
		name string
		info *debug.BuildInfo
		want time.Time
	}{
		{"no build information", nil, released},
		{"no commit", setting("GOOS", "linux"), released},
		{"a commit", setting("vcs.time", commit.Format(time.RFC3339)), commit},
		{"an impossible commit", setting("vcs.time", "1970-01-01T00:00:00Z"), released},
		{"an unreadable commit", setting("vcs.time", "yesterday"), released},
	} {
		if got := built(tc.info); !got.Equal(tc.want) {
			t.Errorf("%s: expected %v, got %v", tc.name, tc.want, got)
		}
	}
}

func TestNothingIsSignedByAWrongClock(t *testing.T) {
	for _, wrong := range []bool{true, false} {
		config := refresh.Config{Log: log}
		if wrong {
			config.Built = time.Now().AddDate(0, 0, 1)
		}
		e := refresh.New(config)
		if err := e.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(e.Stop)
		m := &MSKE{instance: new(instance)}
		m.instance.engine.Store(e)
		if signer := m.instance.online(serve.NewOnline(1, 1)); (signer == nil) != wrong || m.Ready() == wrong {
			t.Errorf("Clock wrong %v: expected to be ready and to sign if it is not, got ready %v", wrong, m.Ready())
		}
	}
}
