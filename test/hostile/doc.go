// Package hostile holds the collection of announcements against the worst
// answers that a peer, a resolver or someone on the path can send.
package hostile
