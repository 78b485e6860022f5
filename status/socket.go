package status

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"sync"
	"time"
)

const (
	// suffix is what the socket's name has after that of the state file.
	suffix = ".sock"

	// maxQuestion bounds a question: a name has 255 octets, of which each may be
	// written as \DDD.
	maxQuestion = 4*255 + 2

	// maxAsking is how many are answered at a time; others wait.
	maxAsking = 8

	// patience is how long one who asks may take.
	patience = 10 * time.Second
)

// Path returns where the server with that state file listens.
func Path(state string) string { return state + suffix }

// Server answers questions on a socket.
type Server struct {
	path     string
	listener *net.UnixListener
	socket   os.FileInfo
	tell     func(zone string) []Zone
	wg       sync.WaitGroup

	mu     sync.Mutex
	asking map[net.Conn]bool
}

// Listen answers whoever asks at the socket of a state file with what tell returns,
// for a zone or, of "", for all. tell is for any goroutine. A server that had the
// socket before is asked no more: while this process reloads, that is the former
// configuration's, and after a crash nobody.
func Listen(state string, tell func(zone string) []Zone) (*Server, error) {
	s := &Server{path: Path(state), tell: tell, asking: make(map[net.Conn]bool)}
	fresh := s.path + ".new"
	for _, path := range []string{s.path, fresh} {
		if info, err := os.Lstat(path); err == nil && info.Mode().Type() != os.ModeSocket {
			return nil, fmt.Errorf("%q is there, and no socket", path)
		}
	}
	if err := os.Remove(fresh); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: fresh, Net: "unix"})
	if err != nil {
		return nil, err
	}
	l.SetUnlinkOnClose(false) // the name is another by then
	s.listener = l
	if err = os.Chmod(fresh, 0o600); err == nil {
		err = os.Rename(fresh, s.path)
	}
	if err == nil {
		s.socket, err = os.Lstat(s.path)
	}
	if err != nil {
		return nil, errors.Join(err, l.Close())
	}
	s.wg.Go(s.accept)
	return s, nil
}

// Close ends the server and waits until it has ended. The socket goes, unless
// another server has it by now.
func (s *Server) Close() error {
	if info, err := os.Lstat(s.path); err == nil && os.SameFile(info, s.socket) {
		if err := os.Remove(s.path); err != nil {
			return errors.Join(err, s.end())
		}
	}
	return s.end()
}

// end hangs up on whoever is asking.
func (s *Server) end() error {
	err := s.listener.Close()
	s.mu.Lock()
	for conn := range s.asking {
		conn.Close()
	}
	s.asking = nil
	s.mu.Unlock()
	s.wg.Wait()
	return err
}

// enter reports whether conn is answered, which it is not once the server ends.
func (s *Server) enter(conn net.Conn) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.asking != nil {
		s.asking[conn] = true
	}
	return s.asking != nil
}

func (s *Server) leave(conn net.Conn) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.asking, conn)
	conn.Close()
}

func (s *Server) accept() {
	slots := make(chan struct{}, maxAsking)
	for {
		conn, err := s.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			time.Sleep(time.Second) // too many open files, say
			continue
		}
		slots <- struct{}{}
		s.wg.Go(func() {
			defer func() { <-slots }()
			defer s.leave(conn)
			if s.enter(conn) {
				s.answer(conn)
			}
		})
	}
}

// answer reads a question and answers it. Whoever is too slow is left.
func (s *Server) answer(conn net.Conn) {
	if conn.SetDeadline(time.Now().Add(patience)) != nil {
		return
	}
	line, err := bufio.NewReader(io.LimitReader(conn, maxQuestion)).ReadString('\n')
	if err != nil {
		return
	}
	zones := s.tell(strings.TrimSpace(line))
	if zones == nil {
		zones = []Zone{}
	}
	w := bufio.NewWriter(conn)
	if json.NewEncoder(w).Encode(zones) == nil {
		_ = w.Flush() // who asked has gone
	}
}

// Ask returns what the server with that state file knows of a zone, a canonical
// name, or of all zones if it is "".
func Ask(ctx context.Context, state, zone string) ([]Zone, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", Path(state))
	if err != nil {
		return nil, fmt.Errorf("no server answers: %w", err)
	}
	defer conn.Close()
	if deadline, ok := ctx.Deadline(); ok {
		if err := conn.SetDeadline(deadline); err != nil {
			return nil, err
		}
	}
	if _, err := io.WriteString(conn, zone+"\n"); err != nil {
		return nil, fmt.Errorf("asking the server: %w", err)
	}
	var zones []Zone
	if err := json.NewDecoder(conn).Decode(&zones); err != nil {
		return nil, fmt.Errorf("reading the server's answer: %w", err)
	}
	return zones, nil
}
