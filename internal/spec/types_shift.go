package spec

// Gate stands before the shift.
type Gate struct {
	Checks  []Check  `json:"checks,omitempty"`  // what must hold
	Soak    Duration `json:"soak,omitzero"`     // how long the checks must go on to hold
	Approve bool     `json:"approve,omitempty"` // whether a person must approve
}

// Promotion is what a version must pass before it comes into a stage: by itself or in a set, promoted or deployed. What was good there before
// comes back without.
type Promotion struct {
	Checks []Check  `json:"checks,omitempty"` // must hold in the stage before, as its users meet it
	Soak   Duration `json:"soak,omitzero"`    // how long the version must have been good in the stage before; the checks go on to hold for what is left of it
	// Approve says who must approve it: anybody, or somebody other than its authors, who are those that brought it into the stage before and that
	// ask for it here. Nobody unless set.
	Approve string `json:"approve,omitempty" jsonschema:"enum=anybody,enum=other"`
}

// Shift says how the users are moved.
type Shift struct {
	Steps    []int    `json:"steps,omitempty"`   // shares of the new generation in percent, ascending, the last 100; [100] unless set
	Interval Duration `json:"interval,omitzero"` // how long each step is watched
	Checks   []Check  `json:"checks,omitempty"`  // must hold throughout each step; one that does not moves the users back
	// Mirror sends copies of requests to the new generation before anybody is moved to it, and compares the answers.
	Mirror *MirrorFirst `json:"mirror,omitempty"`
	// Header leads those users to the new generation, before the first step and until the last one, who ask for it.
	Header *HeaderFirst `json:"header,omitempty"`
	// Analysis compares how the users of both generations are served; a rule that does not hold moves them back.
	Analysis *Analysis `json:"analysis,omitempty"`
	HandOver Duration  `json:"handOver,omitzero"` // bound on the wait for Jobs and singletons of the old generation to end; past it the users are moved back; 10m unless set
	Drain    Duration  `json:"drain,omitzero"`    // bound on the wait for requests under way in the old generation; 30s unless set
}

// MirrorFirst compares how the new generation answers copies of requests with what users get. Copied are GET, HEAD and OPTIONS without a
// body; compared are the status, the headers named, and the shape of JSON: names and types, not values.
type MirrorFirst struct {
	Interval    Duration `json:"interval"`                                                 // how long requests are mirrored
	Share       int      `json:"share,omitempty" jsonschema:"minimum=1,maximum=100"`       // of the requests that can be copied, in percent; 100 unless set
	Headers     []string `json:"headers,omitempty"`                                        // of the answers, whose values are compared and shown
	Differences float64  `json:"differences,omitempty" jsonschema:"minimum=0,maximum=100"` // how many percent of the answers may differ; none unless set
	Requests    int      `json:"requests,omitempty" jsonschema:"minimum=1"`                // that it takes to tell; 100 unless set
}

// HeaderFirst is a header by which users, such as testers, ask for the new generation at the live names.
type HeaderFirst struct {
	Name     string   `json:"name"`              // such as X-Generation
	Value    string   `json:"value"`             // that it has, such as next
	Interval Duration `json:"interval,omitzero"` // how long they have the new generation for themselves
}

// Analysis compares, throughout each step, how the router sees the users of the new generation served with how it sees those of the old one.
type Analysis struct {
	// Rules are conditions (CEL) over new and old: requests, errorRate (from 0 to 1), p50, p90 and p99 (in seconds, until the head of the answer). Unless set:
	// new.errorRate <= old.errorRate + 0.003, and new.p90 <= 1.15 * old.p90 + 0.001.
	Rules    []string `json:"rules,omitempty"`
	Requests int      `json:"requests,omitempty" jsonschema:"minimum=1"` // to each generation that it takes to tell; 100 unless set
}

// Retire says what becomes of the old generation.
type Retire struct {
	After Duration `json:"after,omitzero"` // how long the way back stays open after the switch
	Keep  bool     `json:"keep,omitempty"` // leave it standing until "crossfade retire" is asked for
}
