package mske

// Ready implements the ready.Readiness interface. The ready plugin keeps one
// handler for all server blocks, so this answers for the whole Corefile. It
// takes no lock: whether our own keys, state and data are as they have to be
// is a snapshot, and no peer's absence makes us unready.
func (m *MSKE) Ready() bool {
	e := m.instance.engine.Load()
	return e != nil && e.Status().Ready
}
