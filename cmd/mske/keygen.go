package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/miekg/dns"

	"github.com/coredns-mske/mske/announce"
	"github.com/coredns-mske/mske/domain"
	"github.com/coredns-mske/mske/keys"
)

const keygenUsage = `Usage: mske keygen [flags] ZONE

Makes keys for ZONE, a KSK and a ZSK unless --csk is given, and prints the names of their files without extension.
The files are those of dnssec-keygen. No two keys of ZONE in DIR will have the same tag.
Exit status: 0 made, 1 failed, 2 usage.

Flags:
`

// keygenArgs is what the command line of `mske keygen` says.
type keygenArgs struct {
	zone      string
	dir       string
	algorithm uint8
	csk       bool
}

// runKeygen makes the keys of a zone and returns the exit status.
func runKeygen(args []string, stdout, stderr io.Writer) int {
	a, err := parseKeygen(args, stderr)
	if err == flag.ErrHelp {
		return exitOK
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske keygen: %v\n", err)
		return exitUsage
	}
	bases, err := keygen(a, time.Now(), stderr)
	for _, base := range bases {
		fmt.Fprintln(stdout, base)
	}
	if err != nil {
		fmt.Fprintf(stderr, "mske keygen: %v\n", err)
		return exitFailed
	}
	return exitOK
}

// parseKeygen reads the command line. The error is flag.ErrHelp if all that
// was asked for is help, which it prints.
func parseKeygen(args []string, stderr io.Writer) (keygenArgs, error) {
	a := keygenArgs{algorithm: dns.ECDSAP256SHA256}
	fs := flag.NewFlagSet("keygen", flag.ContinueOnError)
	fs.Func("a", "`ALGORITHM` of the keys, as mnemonic or number (default ECDSAP256SHA256)", func(s string) (err error) {
		a.algorithm, err = parseAlgorithm(s)
		return err
	})
	fs.BoolVar(&a.csk, "csk", false, "make one key that does both, instead of a KSK and a ZSK")
	fs.StringVar(&a.dir, "d", ".", "`DIR`ectory to write to")
	words, err := parseWords(fs, args, keygenUsage, stderr)
	if err != nil {
		return a, err
	}
	if len(words) != 1 {
		return a, fmt.Errorf("expected one ZONE, got %d arguments: write \"mske keygen ZONE\"", len(words))
	}
	a.zone, err = parseZone(words[0])
	return a, err
}

func parseAlgorithm(s string) (uint8, error) {
	if a, ok := dns.StringToAlgorithm[strings.ToUpper(s)]; ok {
		return a, keys.CheckAlgorithm(a)
	}
	n, err := strconv.ParseUint(s, 10, 8)
	if err != nil {
		return 0, errors.New("it is not a DNSSEC algorithm: write ECDSAP256SHA256, say, or its number 13")
	}
	return uint8(n), keys.CheckAlgorithm(uint8(n))
}

// parseZone returns the canonical name of the zone that an argument names.
func parseZone(arg string) (string, error) {
	zone, err := domain.Written(arg)
	if err != nil {
		return "", fmt.Errorf("ZONE: %w: write it as in example.co.uk", err)
	}
	return zone, nil
}

// keygen makes the keys and returns the names of their files. Where it fails,
// it leaves none behind.
func keygen(a keygenArgs, now time.Time, stderr io.Writer) (bases []string, err error) {
	have, err := readKeys(a.zone, a.dir, now, stderr)
	if err != nil {
		return nil, err
	}
	avoid := make(map[uint16]bool)
	for _, k := range have {
		avoid[k.Tag()] = true
	}
	flags := []uint16{dns.ZONE | dns.SEP, dns.ZONE}
	if a.csk {
		flags = flags[:1]
	}
	warnRoles(a, have, stderr)
	for _, f := range flags {
		k, private, err := keys.Generate(a.zone, a.algorithm, f, avoid)
		if err != nil {
			return nil, errors.Join(err, removeKeys(bases))
		}
		avoid[k.Tag()] = true
		k.Timing = keys.Timing{Created: now, Publish: now, Activate: now}
		base, err := keys.Write(a.dir, k, private)
		if err != nil {
			return nil, errors.Join(err, removeKeys(bases))
		}
		bases, have = append(bases, base), append(have, k)
	}
	keys.AssignRoles(have)
	warnMany("keygen", a.zone, announce.Own(a.zone, keys.Plan(have, now, keys.Facts{})), stderr)
	return bases, nil
}

// warnRoles says where the new keys change what the old ones are used for, or
// the other way round: that depends on which flags there are together.
func warnRoles(a keygenArgs, have []*keys.Key, stderr io.Writer) {
	for _, k := range have {
		switch {
		case a.csk && k.Role == keys.ZSK:
			fmt.Fprintf(stderr, "mske keygen: beside %s the new key is a KSK: write \"csk\" after its name in the Corefile to use it as a CSK\n", k)
			return
		case !a.csk && k.Role == keys.CSK:
			fmt.Fprintf(stderr, "mske keygen: beside the new ZSK %s becomes a KSK: write \"csk\" after its name in the Corefile to keep it a CSK\n", k)
			return
		}
	}
}

// readKeys returns the keys of zone in dir with their roles, and says on
// stderr what is wrong with their files.
func readKeys(zone, dir string, now time.Time, stderr io.Writer) ([]*keys.Key, error) {
	w := keys.NewWatcher(keys.Source{Dirs: []string{dir}})
	_, notes, err := w.Scan(now, func(z string) bool { return z == zone })
	if err != nil {
		return nil, err
	}
	for _, n := range notes {
		fmt.Fprintf(stderr, "mske: %s\n", n.Text)
	}
	return w.Keys(zone), nil
}

func removeKeys(bases []string) (err error) {
	for _, base := range bases {
		err = errors.Join(err, os.Remove(base+".key"), os.Remove(base+".private"))
	}
	return err
}
