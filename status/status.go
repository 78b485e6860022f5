// Package status tells an operator on this machine what a running server knows of
// its zones: how far each is, what it waits for, and when each of our keys may
// take its next step. The server listens on a Unix socket beside its state file;
// whoever may read that file may ask.
//
// A question is one line, the name of a zone or nothing for all; the answer is a
// JSON list of [Zone].
package status

import "time"

// Zone is how far a zone is at one provider.
type Zone struct {
	Zone        string    `json:"zone"`
	Nameservers []string  `json:"nameservers"` // ours
	Phase       string    `json:"phase"`
	Waits       []string  `json:"waits"`              // what the next phase waits for
	Until       time.Time `json:"until,omitzero"`     // the first time that something waits for
	MayAdd      bool      `json:"may_add"`            // NS may gain hosts
	NS          []string  `json:"ns"`                 // what NS may be now
	Leaving     []Leaving `json:"leaving"`            // whose keys are kept for caches alone
	Deletable   time.Time `json:"deletable,omitzero"` // from when the zone may be deleted here, once it is left
	Keys        []Key     `json:"keys"`               // ours
	Warnings    []string  `json:"warnings"`           // what was warned of and is so still
}

// Leaving is a nameserver that is none of the zone's any more.
type Leaving struct {
	Host  string    `json:"host"`
	Since time.Time `json:"since"`
	Until time.Time `json:"until"`
}

// Key is one of our keys that is published. A time that is left out is one that is
// not known, or does not apply.
type Key struct {
	Tag       uint16 `json:"tag"`
	Algorithm uint8  `json:"algorithm"`
	Role      string `json:"role"` // KSK, ZSK or CSK

	Signs bool `json:"signs"` // the zone's data, as far as was seen

	Everywhere time.Time `json:"published_everywhere_since,omitzero"` // where it has to be
	SignFrom   time.Time `json:"may_sign_from,omitzero"`              // the zone's data
	InDS       time.Time `json:"in_ds_since,omitzero"`
	GoFrom     time.Time `json:"may_go_from,omitzero"`
}
