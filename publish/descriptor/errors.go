package descriptor

// Error says what is wrong with a descriptor. Every error of this package is one
// of the constants below: a number that fits a byte, so that a stream of garbage
// costs no allocation.
type Error uint8

// ok is no error, for what returns an Error.
const ok Error = 0

// What can be wrong with a VP8 payload (RFC 7741 section 4).
const (
	ErrVP8Short Error = iota + 1
	ErrVP8Empty
)

// What can be wrong with a VP9 payload (RFC 9628 section 4.2).
const (
	ErrVP9Short Error = iota + 10
	ErrVP9Empty
	ErrVP9PictureID
	ErrVP9Diff
	ErrVP9Diffs
)

// What can be wrong with a dependency descriptor (AV1 RTP specification section
// A.8). ErrUnknownStructure and ErrUnknownTemplate are no fault of the packet:
// the one that brought the structure is lost or late, and the next key frame
// brings another.
const (
	ErrUnknownStructure Error = iota + 20
	ErrUnknownTemplate
	ErrShort
	ErrTemplates
	ErrLayers
	ErrDiffs
)

// What cannot be written as a dependency descriptor (AV1 RTP specification
// section A.8.2).
const (
	ErrWriteStructure Error = iota + 30
	ErrWriteFrame
)

var errorText = [...]string{
	ErrVP8Short:         "vp8: the payload ends within its descriptor",
	ErrVP8Empty:         "vp8: nothing behind the descriptor",
	ErrVP9Short:         "vp9: the payload ends within its descriptor",
	ErrVP9Empty:         "vp9: nothing behind the descriptor",
	ErrVP9PictureID:     "vp9: flexible mode without a picture id",
	ErrVP9Diff:          "vp9: a reference to the picture itself",
	ErrVP9Diffs:         "vp9: more than three references",
	ErrUnknownStructure: "dependency descriptor: no template structure is known yet",
	ErrUnknownTemplate:  "dependency descriptor: the template is not one of the known structure",
	ErrShort:            "dependency descriptor: ends within a field",
	ErrTemplates:        "dependency descriptor: more than 64 templates",
	ErrLayers:           "dependency descriptor: more than 8 spatial or 8 temporal layers",
	ErrDiffs:            "dependency descriptor: more than 16 references",
	ErrWriteStructure:   "dependency descriptor: the structure is none that can be written",
	ErrWriteFrame:       "dependency descriptor: the frame is none that can be written",
}

// Error implements error.
func (e Error) Error() string {
	if int(e) < len(errorText) && errorText[e] != "" {
		return errorText[e]
	}
	return "descriptor: unknown error"
}
