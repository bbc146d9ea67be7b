// Decodes every picture in the folders it is given by Go's standard library and golang.org/x/image.
// One line for each: file, decoder, digest of all that was decoded; "-" where it was refused.
package main

import (
	"bytes"
	"crypto/sha256"
	"fmt"
	"image"
	"image/gif"
	"image/jpeg"
	"image/png"
	"os"
	"path/filepath"

	"golang.org/x/image/webp"
)

var decoders = map[string]struct {
	name   string
	decode func(file []byte) (string, error)
}{
	".gif":  {"image/gif", decodeGif},
	".jpeg": {"image/jpeg", func(file []byte) (string, error) { return digest(jpeg.Decode(bytes.NewReader(file))) }},
	".png":  {"image/png", func(file []byte) (string, error) { return digest(png.Decode(bytes.NewReader(file))) }},
	".webp": {"x/image/webp", func(file []byte) (string, error) { return digest(webp.Decode(bytes.NewReader(file))) }},
}

func main() {
	for _, folder := range os.Args[1:] {
		entries, err := os.ReadDir(folder)
		if err != nil {
			panic(err)
		}
		for _, entry := range entries {
			path := filepath.Join(folder, entry.Name())
			file, err := os.ReadFile(path)
			if err != nil {
				panic(err)
			}
			decoder := decoders[filepath.Ext(path)]
			found, err := decoder.decode(file)
			if err != nil {
				found = "-"
			}
			fmt.Printf("%s\tGo %s\t%s\n", path, decoder.name, found)
		}
	}
}

func decodeGif(file []byte) (string, error) {
	all, err := gif.DecodeAll(bytes.NewReader(file))
	if err != nil {
		return "", err
	}
	found := fmt.Appendf(nil, "%v %v %v %v %v", all.Delay, all.LoopCount, all.Disposal, all.Config, all.BackgroundIndex)
	for _, frame := range all.Image {
		found = fmt.Appendf(found, "%v", *frame)
	}
	return fmt.Sprintf("%x", sha256.Sum256(found)), nil
}

func digest(picture image.Image, err error) (string, error) {
	return fmt.Sprintf("%x", sha256.Sum256(fmt.Appendf(nil, "%v", picture))), err
}
