//go:build !mske_lab

package refresh

import "time"

// clockSettle is how long a clock that jumped ahead has to stay there to be
// believed, and how long one has to run without such jumps before time that
// it says has passed takes anything away, or is held against it later.
// Servers that set a clock find out within minutes that they were wrong.
const clockSettle = 10 * time.Minute
