package refresh

import (
	"fmt"
	"slices"
)

// level is how much a note matters to an operator.
type level uint8

const (
	levelInfo level = iota
	levelWarning
	levelError
	levelProblem // an error that keeps the server from being ready
	levelPending // what does so only for the moment, as at the start
)

// note is what was last said about a topic of a zone.
type note struct {
	topic string
	level level
	id    string
	text  string
}

// notes are those of one zone, in no order. There are few.
type notes []note

// index returns where the note about topic is, or -1.
func (ns notes) index(topic string) int {
	return slices.IndexFunc(ns, func(n note) bool { return n.topic == topic })
}

// about returns the note about topic, if there is one.
func (ns notes) about(topic string) (n note, ok bool) {
	if i := ns.index(topic); i >= 0 {
		return ns[i], true
	}
	return note{}, false
}

// put adds n, in place of what there was about its topic.
func (ns *notes) put(n note) {
	if i := ns.index(n.topic); i >= 0 {
		(*ns)[i] = n
		return
	}
	*ns = append(*ns, n)
}

// drop drops the note about topic, if there is one.
func (ns *notes) drop(topic string) {
	if i := ns.index(topic); i >= 0 {
		*ns = slices.Delete(*ns, i, i+1)
	}
}

// say logs a line about a topic, once until id or the level changes. Without
// id the text itself is it.
func (z *zone) say(topic string, l level, id, format string, args ...any) {
	text := fmt.Sprintf(format, args...)
	if id == "" {
		id = text
	}
	was, said := z.open().notes.about(topic)
	z.open().notes.put(note{topic: topic, level: l, id: id, text: text})
	z.news = true
	if said && was.id == id && was.level == l {
		return
	}
	write := z.log.Infof
	switch l {
	case levelWarning:
		write = z.log.Warningf
	case levelError, levelProblem:
		write = z.log.Errorf
	case levelPending:
		write = z.log.Debugf
	}
	write("%s: %s", z.title(), text)
}

// settle forgets a topic, and says so if it was a problem.
func (z *zone) settle(topic string) {
	was, said := z.open().notes.about(topic)
	if !said {
		return
	}
	z.open().notes.drop(topic)
	z.news = true
	if was.level == levelProblem {
		z.log.Infof("%s: no longer so: %s", z.title(), was.text)
	}
}

// recovered forgets a topic, and says what is so again if it was warned of.
func (z *zone) recovered(topic, format string, args ...any) {
	was, said := z.open().notes.about(topic)
	z.open().notes.drop(topic)
	z.news = z.news || said
	if said && was.level > levelInfo {
		z.log.Infof("%s: %s", z.title(), fmt.Sprintf(format, args...))
	}
}

// warnings returns what z was warned of and is so still.
func (z *zone) warnings() []string {
	var texts []string
	for _, n := range z.open().notes {
		if n.level >= levelWarning && n.text != "" {
			texts = append(texts, n.text)
		}
	}
	slices.Sort(texts)
	return texts
}

// problems returns what keeps z from being as it has to be.
func (z *zone) problems() []string {
	var texts []string
	for _, n := range z.open().notes {
		if n.level >= levelProblem {
			texts = append(texts, z.title()+": "+n.text)
		}
	}
	return texts
}
