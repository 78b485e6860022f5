// Package lifecycle takes a zone through its whole life with several providers,
// our own and a static one, while validating resolvers ask for its data all the
// time: providers join, roll their keys, are killed, cut off and reloaded,
// migrate and leave. Each step is taken when mske says in its log that it may
// be, the way an operator would. No answer may be bogus or fail.
//
// The short form takes a minute or so:
//
//	go test ./test/lifecycle -v
//
// The full form takes every step, with three providers and a static peer, in an
// order that the seed decides:
//
//	go test ./test/lifecycle -v -full -seed 0 -timeout 60m
package lifecycle
