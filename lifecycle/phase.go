package lifecycle

import "slices"

// Phase is how far a zone has come (section 5 of the design).
type Phase string

// The phases. The zero Phase is that of a zone that nothing is known of yet.
const (
	Single     Phase = "single"     // it has no external nameservers
	Collecting Phase = "collecting" // some announcement is missing
	Joint      Phase = "joint"      // we serve the joint sets, some nameserver does not yet
	Converged  Phase = "converged"  // all nameservers do
	Synced     Phase = "ds-synced"  // and so do the parent's DS and all caches: NS may gain hosts
	Complete   Phase = "complete"   // NS at child and parent is the target
	Insecure   Phase = "insecure"   // the parent's DS is provably absent, so that nothing validates
	Left       Phase = "left"       // none of our nameservers is one of the zone's any more
)

// Phases are all phases, in order.
var Phases = []Phase{Single, Collecting, Joint, Converged, Synced, Complete, Insecure, Left}

// MayAdd reports whether NS may gain hosts in this phase.
func (p Phase) MayAdd() bool { return slices.Contains([]Phase{Synced, Complete, Insecure}, p) }
