#!/bin/sh
# Makes the media of testdata/ and publish/source/clips/ anew.
#
# Needs go, ffmpeg (Debian 12: 5.1.6) with libvpx, libaom, libx264 and libopus,
# and the fonts of fonts-dejavu-core. The same ffmpeg gives the same bytes on a
# second run; another version gives another file of the same kind.
set -eu
cd "$(dirname "$0")"
clips=../publish/source/clips
mkdir -p "$clips"
ff="ffmpeg -hide_banner -loglevel error -nostdin -y"
exact="-fflags +bitexact -flags:v +bitexact -flags:a +bitexact -map_metadata -1"

# ---- fixtures: 5 s of testsrc2, 150 frames, a keyframe each second ----------
# Sixteen bars at the top hold the frame's number, lowest bit on the left, in
# columns of a sixteenth of the width; read the middle of each.
bars="geq=lum='if(lt(Y,12),if(mod(floor(N/pow(2,floor(X/20))),2),235,16),lum(X,Y))'"
bars="$bars:cb='if(lt(Y,6),128,cb(X,Y))':cr='if(lt(Y,6),128,cr(X,Y))'"
src="-f lavfi -i testsrc2=size=320x180:rate=30:duration=5 -vf format=yuv420p,$bars"
gop="-g 30 -keyint_min 30"
vpx="-b:v 120k -threads 1 $gop -auto-alt-ref 0 -lag-in-frames 0 -error-resilient 1"

$ff $src -c:v libvpx -deadline good -cpu-used 4 $vpx $exact vp8.ivf
$ff $src -c:v libvpx-vp9 -deadline realtime -cpu-used 6 $vpx $exact vp9.ivf
$ff $src -c:v libaom-av1 -usage realtime -cpu-used 8 -b:v 120k -threads 1 $gop \
	-lag-in-frames 0 $exact av1.ivf
x264="-profile:v baseline -preset veryfast -tune zerolatency -threads 1 -bf 0 -sc_threshold 0"
$ff $src -c:v libx264 -b:v 120k -maxrate 120k -bufsize 120k $x264 $gop \
	-x264-params repeat-headers=1:sliced-threads=0:aud=1 $exact -f h264 a.h264

# ---- simulcast: the same picture in three sizes, with keyframes every 2 s ----
for layer in "q 80:44 20" "h 160:90 45" "f 320:180 90"; do
	set -- $layer
	small="$src,scale=$2:flags=area"
	rate="-b:v ${3}k -threads 1 -g 60 -keyint_min 60"
	$ff $small -c:v libvpx -deadline good -cpu-used 4 $rate -auto-alt-ref 0 -lag-in-frames 0 \
		-error-resilient 1 $exact "sim-vp8-$1.ivf"
	$ff $small -c:v libaom-av1 -usage realtime -cpu-used 8 $rate -lag-in-frames 0 $exact "sim-av1-$1.ivf"
	$ff $small -c:v libx264 $rate -maxrate "${3}k" -bufsize "${3}k" $x264 \
		-x264-params repeat-headers=1:sliced-threads=0:aud=1 $exact -f h264 "sim-h264-$1.h264"
done

opus="-c:a libopus -frame_duration 20"
$ff -f lavfi -i sine=frequency=440:sample_rate=48000:duration=5 $opus -page_duration 20000 -b:a 24k $exact a.ogg

# ---- embedded clips: 10 s, 300 frames; the picture is drawn by ./pattern ----
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT INT TERM
go run ./pattern -frames 300 >"$tmp/pattern.rgb"
fonts=/usr/share/fonts/truetype/dejavu
raw="-f rawvideo -pix_fmt rgb24 -s 640x360 -r 30 -i $tmp/pattern.rgb"
# text LINE: the filters that write the wordmark, LINE and the running numbers.
text() {
	printf '%s' "drawtext=fontfile=$fonts/DejaVuSans-Bold.ttf:text=Weft:x=36:y=44:fontsize=34:fontcolor=0xf4f6fb"
	printf '%s' ",drawtext=fontfile=$fonts/DejaVuSans.ttf:text='$1':x=38:y=86:fontsize=14:fontcolor=0xc4cbe6"
	printf '%s' ",drawtext=fontfile=$fonts/DejaVuSansMono-Bold.ttf:x=34:y=116:fontsize=50:fontcolor=0xf4f6fb"
	printf '%s' ":text='00\\:%{eif\\:floor(n/30)\\:d\\:2}\\:%{eif\\:mod(n,30)\\:d\\:2}'"
	printf '%s' ",drawtext=fontfile=$fonts/DejaVuSansMono.ttf:x=507:y=154:fontsize=16:fontcolor=0xc4cbe6"
	printf '%s' ":text='frame %{eif\\:n\\:d\\:3}',format=yuv420p"
}
vpx="-c:v libvpx -deadline best -cpu-used 0 -threads 1 -auto-alt-ref 0 -lag-in-frames 0"
$ff $raw -vf "$(text 'test pattern · VP8 · 640×360 · 30 fps')" $vpx \
	-b:v 230k -g 60 -keyint_min 60 $exact "$clips/pattern-vp8.ivf"
$ff $raw -vf "$(text 'test pattern · VP8 · one keyframe every 10 s')" $vpx \
	-b:v 170k -g 300 -keyint_min 300 $exact "$clips/pattern-slow.ivf"
$ff $raw -vf "$(text 'test pattern · H.264 · 640×360 · 30 fps')" \
	-c:v libx264 -profile:v baseline -preset veryslow -threads 1 -bf 0 -sc_threshold 0 \
	-crf 30 -maxrate 400k -bufsize 800k -g 60 -keyint_min 60 \
	-x264-params repeat-headers=1:sliced-threads=0:aud=1 $exact -f h264 "$clips/pattern-h264.h264"

# The lower qualities of the first and the last of them.
for layer in "q 160:90 30 33" "h 320:180 75 31"; do
	set -- $layer
	small="scale=$2:flags=area"
	$ff $raw -vf "$(text 'test pattern · VP8 · 640×360 · 30 fps'),$small" $vpx \
		-b:v "${3}k" -g 60 -keyint_min 60 $exact "$clips/pattern-vp8-$1.ivf"
	$ff $raw -vf "$(text 'test pattern · H.264 · 640×360 · 30 fps'),$small" \
		-c:v libx264 -profile:v baseline -preset veryslow -threads 1 -bf 0 -sc_threshold 0 \
		-crf "$4" -maxrate 200k -bufsize 400k -g 60 -keyint_min 60 \
		-x264-params repeat-headers=1:sliced-threads=0:aud=1 $exact -f h264 "$clips/pattern-h264-$1.h264"
done

# A bell each second, when the lamp lights. 479688 samples and the encoder's 312
# samples of pre-skip are 500 packets: ten seconds, as long as the pictures are.
bell="0.30*exp(-3*mod(t,1))*(sin(2*PI*523.25*t)+0.5*sin(2*PI*1046.5*t)+0.25*exp(-6*mod(t,1))*sin(2*PI*1569.75*t))"
bell="$bell*min(1,mod(t,1)*400)"
$ff -f lavfi -i "aevalsrc='$bell':s=48000" -af atrim=end_sample=479688 \
	$opus -b:a 24k $exact "$clips/tone.ogg"
ls -l ./*.ivf ./*.h264 ./*.ogg "$clips"
