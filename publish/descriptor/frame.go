package descriptor

import "iter"

// Frame is what one packet's dependency descriptor says (AV1 RTP specification
// section A.8). All of a frame's packets say the same, but for Start, End,
// Carried and Announced.
type Frame struct {
	Start, End bool   // first, last packet of the frame; not of the picture, which may have a frame for each spatial layer
	Number     uint16 // frame_number
	ID         int64  // Number without its wrap, counted on by the Parser; the frame before has a lower one
	TemplateID uint8  // frame_dependency_template_id

	// Keyframe marks every packet of the frame that brought Structure: the first
	// of a coded video sequence, on the lowest spatial layer.
	Keyframe  bool
	Structure *Structure // that this frame is said in; never nil, shared, not to be changed
	Carried   bool       // this packet has the structure in it

	// Active has a bit for every decode target that can be had, the lowest for
	// target 0 (section A.4): as this packet says, if Announced, else as the last
	// one that did.
	Active    uint32
	Announced bool

	SpatialID, TemporalID uint8
	Dependencies
}

// References yields the IDs of the frames that this one refers to.
func (f *Frame) References() iter.Seq[int64] {
	return func(yield func(int64) bool) {
		for _, diff := range f.Diffs[:f.DiffCount] {
			if !yield(f.ID - int64(diff)) {
				return
			}
		}
	}
}

// ChainBefore returns the ID of the frame of a chain that comes before this one.
// It reports false when the chain needs none, or is not there. The chain is
// intact as long as each of its frames has arrived (AV1 RTP specification section
// A.5); a chain of no active target says nothing.
func (f *Frame) ChainBefore(chain int) (id int64, needed bool) {
	if chain < 0 || chain >= int(f.Structure.ChainCount) || f.ChainDiffs[chain] == 0 {
		return 0, false
	}
	return f.ID - int64(f.ChainDiffs[chain]), true
}

// InChain reports whether the frame is part of a chain that protects an active
// target (AV1 RTP specification section A.6, PartOfActiveChain).
func (f *Frame) InChain(chain int) bool {
	active := false
	for i, t := range f.Structure.Targets[:f.Structure.TargetCount] {
		if int(t.Chain) != chain || chain >= int(f.Structure.ChainCount) {
			continue
		}
		if f.DTIs[i] == NotPresent || f.DTIs[i] == Discardable {
			return false
		}
		active = active || f.Active>>i&1 != 0
	}
	return active
}

// For returns what the frame is to a decode target; NotPresent to one that there
// is not.
func (f *Frame) For(target int) DTI {
	if target < 0 || target >= MaxTargets {
		return NotPresent
	}
	return f.DTIs[target]
}

// SwitchesTo reports whether a viewer for whom this frame is decodable may be
// given a decode target from here on (AV1 RTP specification section A.7).
func (f *Frame) SwitchesTo(target int) bool { return f.For(target) == Switch }

// Resolution returns the greatest size of the frame's spatial layer
// (FrameMaxWidth, FrameMaxHeight in section A.8.2), zero if it is not said.
func (f *Frame) Resolution() Resolution {
	if f.SpatialID >= MaxSpatialLayers {
		return Resolution{}
	}
	return f.Structure.Resolutions[f.SpatialID]
}
