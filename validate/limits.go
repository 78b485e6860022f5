package validate

import "time"

// limitRule is what the reason cites for a limit: none of them is in an RFC.
const limitRule = "limit of this software"

// What a session and one of its look-ups may cost. Whatever is in a message was put there by the peer
// or by someone on the path, so each loop over it is bounded. A limit that is
// exceeded makes the answer bogus.
const (
	// maxRecords bounds the records of a message. An apex RRset of 64 keys
	// with its signatures has fewer than a hundred.
	maxRecords = 512

	// maxQuestions bounds the questions of a session, maxRecordsTotal and
	// maxOctets the answers. A chain takes two questions for each zone, and the
	// search for cuts one for each label at most: from the root to a signaling
	// name a dozen answers of a few kilobytes each.
	maxQuestions    = 96
	maxRecordsTotal = 2048
	maxOctets       = 1 << 18

	// maxCost bounds the work of a session, in units of about a microsecond
	// (see cost.go). A cold chain of six zones with P-384 keys takes fourteen
	// verifications, which are 10,220 units.
	maxCost = 12000

	// maxChain bounds the zones on the way to an anchor. Deep reverse trees
	// have about ten.
	maxChain = 20

	// maxSigners bounds the zones whose chain is asked for, for one RRset. It
	// has one signer; a second is an attempt.
	maxSigners = 2

	// maxKeys bounds the keys of a zone that are considered, maxDS the DS.
	maxKeys = 64
	maxDS   = 32

	// maxSignatures bounds the RRSIGs of an RRset that are considered, and
	// maxChecks the signatures times keys that are verified for it: the KeyTrap
	// attack (CVE-2023-50387) sends many of both with one key tag. A joint
	// DNSKEY RRset has one or two signatures for each provider's.
	maxSignatures = 16
	maxChecks     = 16

	// maxChecksTotal bounds the same for a session.
	maxChecksTotal = 96

	// maxDenials bounds the NSEC and NSEC3 that are considered: no proof needs
	// more than three (RFC 5155 section 7.2), some servers send four.
	maxDenials = 8

	// maxIterations bounds the additional hashing of NSEC3: more is insecure
	// (RFC 9276 section 3.2).
	maxIterations = 100
)

// How much is remembered, for how long.
const (
	// maxZones bounds the zones whose keys are kept, some kilobytes each.
	maxZones = 4096

	// maxVerified bounds the signatures that are known to be good: those of the
	// announcements of 100,000 zones by two nameservers, and half as many again, with
	// up to twenty that are seen of each zone from outside, have to fit into half of
	// that. Each takes some 30 octets.
	maxVerified = 6 << 20

	// maxTTL bounds how long the chain is kept, so that a TTL of a week does
	// not delay a key's withdrawal by a week. Resolvers take a day, too.
	maxTTL = 24 * time.Hour

	// maxAnchorFile bounds a trust anchor file, in octets, maxAnchorRecords its
	// records: a line with $GENERATE makes many.
	maxAnchorFile    = 1 << 20
	maxAnchorRecords = 1024
)
