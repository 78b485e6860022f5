package keys

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unsafe"

	"github.com/miekg/dns"
)

const zone1, zone2 = "example.co.uk.", "example.org."

// watched is a Watcher under test, with its own clock.
type watched struct {
	*Watcher
	t   *testing.T
	dir string
	now time.Time
}

// watch returns the Watcher of a new directory and of named files.
func watch(t *testing.T, files ...File) *watched {
	t.Helper()
	dir := t.TempDir()
	return &watched{NewWatcher(Source{Files: files, Dirs: []string{dir}}), t, dir, time.Now()}
}

func both(zone string) bool { return zone == zone1 || zone == zone2 }

// scan moves the clock by two seconds and returns what changed, as "zone: key
// key, zone: ...", and the texts of the notes, with "mended: " before good ones.
func (w *watched) scan() (changed string, notes []string) {
	w.t.Helper()
	w.now = w.now.Add(2 * confirm)
	lists, ns, err := w.Scan(w.now, both)
	if err != nil {
		w.t.Fatal(err)
	}
	for _, zone := range slices.Sorted(maps.Keys(lists)) {
		changed += zone + show(lists[zone])
		if !slices.Equal(lists[zone], w.Keys(zone)) {
			w.t.Errorf("Expected Keys to be what Scan returned, got %s", show(w.Keys(zone)))
		}
	}
	for _, n := range ns {
		if n.Mended {
			n.Text = "mended: " + n.Text
		}
		notes = append(notes, n.Text)
	}
	return changed, notes
}

func show(ks []*Key) (s string) {
	for _, k := range ks {
		s += fmt.Sprintf(" %s", k.Role)
		if k.Signer == nil {
			s += "(public)"
		}
		if k.Gone {
			s += "(gone)"
		}
	}
	return s + "."
}

// expect scans and compares what changed; notes have to contain the words, one
// each.
func (w *watched) expect(changed string, words ...string) {
	w.t.Helper()
	got, notes := w.scan()
	if got != changed {
		w.t.Errorf("Expected changes %q, got %q", changed, got)
	}
	if len(notes) != len(words) {
		w.t.Fatalf("Expected notes with %q, got %q", words, notes)
	}
	for i := range words {
		if !strings.Contains(notes[i], words[i]) {
			w.t.Errorf("Expected a note with %q, got %q", words[i], notes[i])
		}
	}
}

// write makes a key in the watched directory and returns its base.
func (w *watched) write(zone string, flags uint16) string {
	w.t.Helper()
	return writeKey(w.t, w.dir, zone, flags)
}

// writeKey makes a key with a tag that no other key of the zone in dir has.
func writeKey(t *testing.T, dir, zone string, flags uint16) string {
	t.Helper()
	for {
		k, private, err := Generate(zone, dns.ECDSAP256SHA256, flags, nil)
		if err != nil {
			t.Fatal(err)
		}
		switch base, err := Write(dir, k, private); {
		case err == nil:
			return base
		case !errors.Is(err, os.ErrExist):
			t.Fatal(err)
		}
	}
}

func remove(t *testing.T, names ...string) {
	t.Helper()
	for _, name := range names {
		if err := os.Remove(name); err != nil {
			t.Fatal(err)
		}
	}
}

func TestFirstScanReadsEverything(t *testing.T) {
	named := writeKey(t, t.TempDir(), zone2, 257)
	w := watch(t, File{Base: named + publicExt, Role: KSK})
	w.write(zone1, 257)
	w.write(zone1, 256)
	w.write("example.net.", 257) // not ours
	writeText(t, filepath.Join(w.dir, "README"), "hello")
	w.expect(zone1 + " KSK ZSK." + zone2 + " KSK.")
	w.expect("")
}

func TestNewKeysAreFound(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	w.expect(zone1 + " CSK.")
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	w.write(zone2, 257)
	w.expect(zone2 + " CSK.")
}

func TestListsHandedOutDoNotChange(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	w.expect(zone1 + " CSK.")
	before := w.Keys(zone1)
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	if show(before) != " CSK." {
		t.Errorf("Expected the former list to stay, got %s", show(before))
	}
}

func TestRemovedKeyIsGoneWhileOthersRemain(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK ZSK.")
	remove(t, zsk+publicExt, zsk+privateExt)
	w.expect("") // it may be on its way back
	missing := w.now
	got, _ := w.scan()
	if strings.Count(got, "ZSK(gone)") != 1 || strings.Count(got, "ZSK") != 2 {
		t.Errorf("Expected one ZSK to be gone, got %q", got)
	}
	for _, k := range w.Keys(zone1) {
		if k.Gone != (k.Base == zsk) || k.Gone && !k.Timing.Delete.Equal(missing) {
			t.Errorf("Expected %s alone to be gone since %v, got %s, %+v", zsk, missing, k, k.Timing)
		}
	}
	w.expect("")
}

func TestReplacedFileIsNotGone(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	public, private := readText(t, zsk+publicExt), readText(t, zsk+privateExt)
	remove(t, zsk+publicExt, zsk+privateExt)
	w.expect("")
	writeText(t, zsk+privateExt, private)
	writeText(t, zsk+publicExt, public)
	w.expect("")
	w.expect("")
}

func TestKeyThatCameBackIsThereAgain(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	public, private := readText(t, zsk+publicExt), readText(t, zsk+privateExt)
	remove(t, zsk+publicExt, zsk+privateExt)
	w.expect("")
	w.expect(zone1 + " CSK ZSK(gone).")
	writeText(t, zsk+privateExt, private)
	w.expect("")
	writeText(t, zsk+publicExt, public)
	w.expect(zone1 + " KSK ZSK.")
}

func TestAllKeysGoneAtOnceChangesNothing(t *testing.T) {
	w := watch(t)
	ksk, zsk := w.write(zone1, 257), w.write(zone1, 256)
	w.write(zone2, 257)
	w.expect(zone1 + " KSK ZSK." + zone2 + " CSK.")
	var texts []string
	names := []string{ksk + publicExt, ksk + privateExt, zsk + publicExt, zsk + privateExt}
	for _, name := range names {
		texts = append(texts, readText(t, name))
	}
	remove(t, names...)
	w.expect("", "put the files back")
	for range 3 {
		w.expect("")
	}
	if show(w.Keys(zone1)) != " KSK ZSK." {
		t.Errorf("Expected the keys to stay, got %s", show(w.Keys(zone1)))
	}
	// They come back one by one, and none counts as removed meanwhile.
	for i, name := range names {
		writeText(t, name, texts[i])
		w.now = w.now.Add(-2 * confirm) // all within a second
		if i == len(names)-1 {
			w.expect("", `mended: the keys of zone "example.co.uk." have their files again`)
			break
		}
		w.expect("")
	}
	w.expect("")
	remove(t, names...)
	w.expect("", "put the files back") // said anew
}

func TestKeysThatDoNotComeBackWithTheOthersCountAsRemoved(t *testing.T) {
	w := watch(t)
	ksk, zsk := w.write(zone1, 257), w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	public, private := readText(t, ksk+publicExt), readText(t, ksk+privateExt)
	remove(t, ksk+publicExt, ksk+privateExt, zsk+publicExt, zsk+privateExt)
	w.expect("", "put the files back")
	writeText(t, ksk+privateExt, private)
	writeText(t, ksk+publicExt, public)
	w.expect("") // the others may be about to come back
	w.expect(zone1+" CSK ZSK(gone).", `mended: keys of zone "example.co.uk." have their files again, and those that have none count as removed`)
	w.expect("")
}

func TestDirectoryThatCannotBeReadChangesNothing(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	w.expect(zone1 + " CSK.")
	if err := os.Rename(w.dir, w.dir+".away"); err != nil {
		t.Fatal(err)
	}
	w.expect("", "key directory")
	w.expect("")
	if err := os.Rename(w.dir+".away", w.dir); err != nil {
		t.Fatal(err)
	}
	w.expect("", fmt.Sprintf("mended: key directory %q can be read again", w.dir))
	w.expect("")
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
}

func TestHalfWrittenFileKeepsTheLastGoodList(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	w.expect(zone1 + " CSK.")
	zsk := writeKey(t, t.TempDir(), zone1, 256)
	public, private := readText(t, zsk+publicExt), readText(t, zsk+privateExt)
	zsk = filepath.Join(w.dir, filepath.Base(zsk))
	writeText(t, zsk+privateExt, private[:60])
	writeText(t, zsk+publicExt, public)
	w.expect("", "cut off")
	w.expect("") // said once
	writeText(t, zsk+privateExt, private)
	mended := fmt.Sprintf("mended: the files of key %q can be read now", zsk)
	w.expect(zone1+" KSK ZSK.", mended)
	writeText(t, zsk+publicExt, public[:len(public)-20])
	w.expect("", "the key stays in use as it was")
	w.expect("")
	writeText(t, zsk+publicExt, public)
	w.expect("", mended)
	w.expect("")
	writeText(t, zsk+publicExt, public[:len(public)-20])
	w.expect("", "the key stays in use as it was") // said anew
}

func TestChangedTimingIsFound(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	writeText(t, zsk+privateExt, readText(t, zsk+privateExt)+"Inactive: 20300101000000\n")
	w.expect(zone1 + " KSK ZSK.")
	for _, k := range w.Keys(zone1) {
		if k.Role == ZSK && k.Timing.Inactive.Year() != 2030 {
			t.Errorf("Expected the new time, got %+v", k.Timing)
		}
	}
}

func TestPrivateHalfRemovedMakesAZSKPublicOnly(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	private := readText(t, zsk+privateExt)
	remove(t, zsk+privateExt)
	w.expect("")
	w.expect(zone1 + " KSK ZSK(public).")
	writeText(t, zsk+privateExt, private)
	w.expect(zone1 + " KSK ZSK.")
}

func TestPrivateHalfRemovedDoesNotStopASecureEntryKey(t *testing.T) {
	w := watch(t)
	ksk := w.write(zone1, 257)
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	private := readText(t, ksk+privateExt)
	remove(t, ksk+privateExt)
	w.expect("")
	w.expect(zone1 + " KSK(gone) ZSK.")
	if err := os.Chmod(ksk+publicExt, 0o640); err != nil {
		t.Fatal(err)
	}
	w.expect("")
	writeText(t, ksk+privateExt, private)
	w.expect(zone1 + " KSK ZSK.")
}

func TestKeyWithoutPrivateHalfIsPublicOnly(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	private := readText(t, zsk+privateExt)
	remove(t, zsk+privateExt)
	w.expect(zone1 + " KSK ZSK(public).")
	writeText(t, zsk+privateExt, private)
	w.expect(zone1 + " KSK ZSK.")
}

func TestSameKeyTwiceIsListedOnce(t *testing.T) {
	w := watch(t)
	base := w.write(zone1, 257)
	w.Watcher = NewWatcher(Source{Files: []File{{base + privateExt, KSK}}, Dirs: []string{w.dir}})
	w.expect(zone1 + " KSK.")
}

func TestFirstScanFailsForNamedFilesAndDirectories(t *testing.T) {
	dir := t.TempDir()
	other := writeKey(t, dir, "example.net.", 257)
	good := writeKey(t, dir, zone1, 257)
	file := good + publicExt
	for _, tc := range []struct {
		source Source
		say    string
	}{
		{Source{Files: []File{{Base: filepath.Join(dir, "none")}}}, "none.key: no such file"},
		{Source{Files: []File{{Base: other}}}, "not among the zones here"},
		{Source{Dirs: []string{filepath.Join(dir, "none")}}, "none: no such file"},
		{Source{Dirs: []string{file}}, "not a directory"},
	} {
		tc.source.Files = append(tc.source.Files, File{Base: good})
		w := NewWatcher(tc.source)
		for range 2 {
			if _, _, err := w.Scan(time.Now(), both); err == nil || !strings.Contains(err.Error(), tc.say) {
				t.Errorf("Expected an error with %q, got %v", tc.say, err)
			}
		}
	}
}

func TestFirstScanMayBeRepeated(t *testing.T) {
	dir := t.TempDir()
	late := filepath.Join(dir, "late")
	w := &watched{NewWatcher(Source{Files: []File{{Base: writeKey(t, dir, zone1, 257)}}, Dirs: []string{late}}), t, dir, time.Now()}
	if _, _, err := w.Scan(w.now, both); err == nil {
		t.Error("Expected an error")
	}
	if err := os.Mkdir(late, 0o700); err != nil {
		t.Fatal(err)
	}
	w.expect(zone1 + " CSK.")
}

func TestBadFileInADirectoryIsNotedAndTheRestUsed(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	bad := w.write(zone1, 256)
	writeText(t, bad+privateExt, readText(t, w.write("example.net.", 256)+privateExt))
	w.expect(zone1+" CSK.", "does not belong")
}

func TestNamedFileOfAnotherZoneKeepsTheOldKey(t *testing.T) {
	base := writeKey(t, t.TempDir(), zone1, 257)
	named := filepath.Join(t.TempDir(), "key")
	place := func(base string) {
		writeText(t, named+privateExt, readText(t, base+privateExt))
		writeText(t, named+publicExt, readText(t, base+publicExt))
	}
	place(base)
	w := watch(t, File{Base: named})
	w.expect(zone1 + " CSK.")
	place(writeKey(t, t.TempDir(), zone2, 257))
	w.expect("", "no longer one of \"example.co.uk.\"")
	place(base)
	w.expect("", "mended: ")
}

// A file that is put back with the time that it had looks as if it never was another.
func TestFileThatIsAsItWasIsSaidToBe(t *testing.T) {
	w := watch(t)
	base := w.write(zone1, 257)
	w.expect(zone1 + " CSK.")
	info, err := os.Stat(base + publicExt)
	if err != nil {
		t.Fatal(err)
	}
	public := readText(t, base+publicExt)
	writeText(t, base+publicExt, "garbage\n")
	w.expect("", "the key stays in use as it was")
	writeText(t, base+publicExt, public)
	if err := os.Chtimes(base+publicExt, info.ModTime(), info.ModTime()); err != nil {
		t.Fatal(err)
	}
	w.expect("", "mended: the files of key")
	w.expect("")
}

// A key that is taken for removed is not there again when half of it is.
func TestKeyIsNotSaidToBeReadWhileItIsNotTaken(t *testing.T) {
	w := watch(t)
	ksk := w.write(zone1, 257)
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	public, private := readText(t, ksk+publicExt), readText(t, ksk+privateExt)
	remove(t, ksk+publicExt, ksk+privateExt)
	w.expect("")
	w.expect(zone1 + " KSK(gone) ZSK.")
	writeText(t, ksk+publicExt, "garbage\n")
	w.expect("", "the key stays in use as it was")
	remove(t, ksk+publicExt)
	w.expect("")
	writeText(t, ksk+publicExt, public)
	w.expect("")
	writeText(t, ksk+privateExt, private)
	w.expect(zone1+" KSK ZSK.", "mended: the files of key")
}

func TestRightsOfAFileAreNotedOnceAndWhenTheyAreMended(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	mode := func(mode os.FileMode) {
		if err := os.Chmod(zsk+privateExt, mode); err != nil {
			t.Fatal(err)
		}
	}
	mode(0o644)
	w.expect(zone1+" KSK ZSK.", "can be read by everyone")
	writeText(t, zsk+privateExt, readText(t, zsk+privateExt)+"Inactive: 20300101000000\n")
	w.expect(zone1 + " KSK ZSK.")
	mode(0o600)
	w.expect("", "mended: no longer so: key file")
	w.expect("")
	mode(0o644)
	w.expect("", "can be read by everyone") // said anew
}

func TestGoneZSKsAreForgotten(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsk := w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	remove(t, zsk+publicExt, zsk+privateExt)
	w.expect("")
	w.expect(zone1 + " CSK ZSK(gone).")
	w.now = w.now.Add(keepGone)
	w.write(zone1, 256)
	w.expect(zone1 + " KSK ZSK.")
	if len(w.pairs) != 2 {
		t.Errorf("Expected the files to be forgotten, got %d", len(w.pairs))
	}
}

// Nothing is opened or listed when nothing changed.
func TestQuietScanOnlyLooks(t *testing.T) {
	w := watch(t)
	base := w.write(zone1, 257)
	w.now = w.now.Add(time.Hour)
	w.expect(zone1 + " CSK.")
	if w.dirs[0].round != 1 {
		t.Fatalf("Expected one listing, got %d", w.dirs[0].round)
	}
	for range 3 {
		w.expect("")
	}
	if w.dirs[0].round != 1 {
		t.Errorf("Expected no further listing, got %d", w.dirs[0].round)
	}
	past := w.now.Add(-time.Minute)
	if err := os.Chtimes(base+privateExt, past, past); err != nil {
		t.Fatal(err)
	}
	w.expect("")
}

func TestManyKeysAreLookedAtInTurn(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	zsks := []string{w.write(zone1, 256), w.write(zone1, 256), w.write(zone1, 256)}
	w.looks = 2
	w.scan()
	for _, zsk := range zsks {
		writeText(t, zsk+privateExt, readText(t, zsk+privateExt)+"Inactive: 20300101000000\n")
	}
	var found int
	for range 2 {
		changed, _ := w.scan()
		if changed == "" {
			t.Error("Expected half of the keys to be looked at")
		}
	}
	for _, k := range w.Keys(zone1) {
		if !k.Timing.Inactive.IsZero() {
			found++
		}
	}
	if found != len(zsks) {
		t.Errorf("Expected all %d changes to be found in two scans, got %d", len(zsks), found)
	}
}

// With more keys than can be looked at, the directory tells what came and
// went.
func TestDirectoryTellsWhatCameAndWent(t *testing.T) {
	w := watch(t)
	w.looks = 0
	at := w.now
	setTime := func() {
		if err := os.Chtimes(w.dir, at, at); err != nil {
			t.Fatal(err)
		}
	}
	w.write(zone1, 257)
	setTime()
	w.now = w.now.Add(-confirm)
	w.expect(zone1 + " CSK.")
	zsk := w.write(zone1, 256)
	setTime() // as a file system does that keeps whole seconds
	w.expect(zone1 + " KSK ZSK.")
	w.now = w.now.Add(time.Hour)
	w.expect("")
	remove(t, zsk+publicExt, zsk+privateExt)
	w.expect("")
	w.expect(zone1 + " CSK ZSK(gone).")
}

func TestUnusableFilesAreForgottenWithTheirNames(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	bad := w.write(zone1, 256)
	writeText(t, bad+publicExt, "")
	w.expect(zone1+" CSK.", "no DNSKEY record")
	remove(t, bad+publicExt, bad+privateExt)
	w.expect("")
	if len(w.pairs) != 1 || len(w.said) != 0 {
		t.Errorf("Expected one pair and nothing said, got %d and %v", len(w.pairs), w.said)
	}
}

func TestLastPrivateHalfGoneChangesNothing(t *testing.T) {
	w := watch(t)
	csk := w.write(zone1, 257)
	remove(t, w.write(zone1, 256)+privateExt)
	w.expect(zone1 + " KSK ZSK(public).")
	remove(t, csk+publicExt, csk+privateExt)
	w.expect("", "put the files back")
	w.expect("")
}

func TestPublicKeyGoneFromAZoneWithoutPrivateHalves(t *testing.T) {
	w := watch(t)
	remove(t, w.write(zone1, 257)+privateExt)
	zsk := w.write(zone1, 256)
	remove(t, zsk+privateExt)
	w.expect(zone1 + " KSK(public) ZSK(public).")
	remove(t, zsk+publicExt)
	w.expect("")
	w.expect(zone1 + " CSK(public) ZSK(public)(gone).")
}

func BenchmarkScanUnchanged(b *testing.B) {
	for _, zones := range []int{10, 1000} {
		b.Run(fmt.Sprint("zones=", zones), func(b *testing.B) {
			dir := b.TempDir()
			for i := range zones {
				k, private, err := Generate(fmt.Sprintf("z%d.example.", i), dns.ED25519, 257, nil)
				if err != nil {
					b.Fatal(err)
				}
				if _, err := Write(dir, k, private); err != nil {
					b.Fatal(err)
				}
			}
			w, now := NewWatcher(Source{Dirs: []string{dir}}), time.Now().Add(time.Hour)
			all := func(string) bool { return true }
			if _, _, err := w.Scan(now, all); err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if _, _, err := w.Scan(now, all); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// A reload makes a new Watcher. It takes over what the former has read, but for
// what has changed since.
func TestNewWatcherInheritsKeysWhoseFilesAreAsTheyWere(t *testing.T) {
	dir := t.TempDir()
	stays, changes := writeKey(t, dir, zone1, 257), writeKey(t, dir, zone1, 256)
	source := Source{Dirs: []string{dir}}
	former := NewWatcher(source)
	if _, _, err := former.Scan(time.Now(), both); err != nil {
		t.Fatal(err)
	}
	before := former.Keys(zone1)
	writeText(t, changes+privateExt, readText(t, changes+privateExt)+"Delete: 20300101000000\n")
	w := NewWatcher(source)
	w.Inherit(former)
	changed, _, err := w.Scan(time.Now(), both)
	if err != nil || len(changed[zone1]) != 2 {
		t.Fatalf("Expected two keys, got %v, %v", changed, err)
	}
	for _, k := range changed[zone1] {
		was := before[slices.IndexFunc(before, func(b *Key) bool { return b.ID() == k.ID() })]
		switch k.Base {
		case stays:
			if k == was || k.Signer != was.Signer {
				t.Errorf("Expected the key that stays to be a copy with the same private half")
			}
		default:
			if k.Timing.Delete.IsZero() || k.Signer == was.Signer {
				t.Errorf("Expected the key that changed to be read, got %v", k.Timing)
			}
		}
		if k.Role != was.Role {
			t.Errorf("Expected role %s, got %s", was.Role, k.Role)
		}
	}
}

// A pair lies in memory with others, which stay: what it knew of a key has to go.
func TestForgottenPairHoldsNoKey(t *testing.T) {
	w := NewWatcher(Source{})
	p, stays := &pair{base: "K", key: new(Key), warnings: []string{"old"}}, &pair{base: "L", key: new(Key)}
	w.add(p)
	w.add(stays)
	w.forget(p)
	if p.key != nil || p.warnings != nil || stays.key == nil || len(w.pairs) != 1 {
		t.Errorf("Expected a pair without a key, and the other with its own, got %+v and %+v", p, stays)
	}
}

// The keys of a zone lie together, with one string for its name: a fleet has hundreds of
// thousands, and the garbage collector visits each piece.
func TestKeysOfAZoneLieTogether(t *testing.T) {
	w := watch(t)
	w.write(zone1, 257)
	w.write(zone1, 256)
	w.scan()
	ks := w.Keys(zone1)
	if len(ks) != 2 {
		t.Fatalf("Expected two keys, got %d", len(ks))
	}
	a, b := ks[0], ks[1]
	for _, part := range []unsafe.Pointer{unsafe.Pointer(a.DNSKEY), unsafe.Pointer(b), unsafe.Pointer(b.DNSKEY)} {
		if away := int(uintptr(part)) - int(uintptr(unsafe.Pointer(a))); away < -640 || away > 640 {
			t.Errorf("Expected the keys and their records in one piece, but a part is %d octets away", away)
		}
	}
	if unsafe.StringData(a.Zone()) != unsafe.StringData(b.Zone()) {
		t.Error("Expected one string for the name of the zone")
	}
	// Those read in one scan are handed out with what they had.
	if a.Signer == nil || b.Signer == nil || a.Tag() == b.Tag() || a.Role != KSK || b.Role != ZSK {
		t.Errorf("Expected a KSK and a ZSK with their private halves, got %v and %v", a, b)
	}
}
