// Go's stock client, net/http. Usage: go_client URL
package main

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

type seen struct {
	Method   string
	Length   int
	Sha256   string
	Chunked  bool
	Trailers [][]string
}

var base = os.Args[1]
var failed = false

func check(name string, run func() error) {
	if err := run(); err != nil {
		failed = true
		fmt.Printf("FAIL %s: %v\n", name, err)
		return
	}
	fmt.Println("ok", name)
}

func tell(response *http.Response, err error) (seen, error) {
	var saw seen
	if err != nil {
		return saw, err
	}
	defer response.Body.Close()
	return saw, json.NewDecoder(response.Body).Decode(&saw)
}

func main() {
	client := &http.Client{Timeout: 60 * time.Second}
	sent := bytes.Repeat([]byte("0123456789abcdef"), 200_000)
	sum := sha256.Sum256(sent)
	hash := hex.EncodeToString(sum[:])

	check("500 requests by 20 goroutines, connections kept", func() error {
		var opened atomic.Int32
		trace := &httptrace.ClientTrace{GotConn: func(info httptrace.GotConnInfo) {
			if !info.Reused {
				opened.Add(1)
			}
		}}
		transport := &http.Transport{MaxIdleConnsPerHost: 20, MaxConnsPerHost: 20}
		client := &http.Client{Transport: transport, Timeout: 60 * time.Second}
		var group sync.WaitGroup
		faults := make(chan error, 500)
		for worker := 0; worker < 20; worker++ {
			group.Add(1)
			go func(worker int) {
				defer group.Done()
				for turn := 0; turn < 25; turn++ {
					size := int64(worker*1000 + turn)
					request, _ := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace),
						"GET", fmt.Sprintf("%s/chunks/%d", base, size), nil)
					response, err := client.Do(request)
					if err != nil {
						faults <- err
						continue
					}
					count, err := io.Copy(io.Discard, response.Body)
					response.Body.Close()
					if err != nil || count != size {
						faults <- fmt.Errorf("%d bytes of %d: %v", count, size, err)
					}
				}
			}(worker)
		}
		group.Wait()
		close(faults)
		if err := <-faults; err != nil {
			return err
		}
		if opened.Load() > 20 {
			return fmt.Errorf("%d connections", opened.Load())
		}
		return nil
	})
	check("uploads by length and by chunks", func() error {
		saw, err := tell(client.Post(base+"/echo/", "text/plain", bytes.NewReader(sent)))
		if err != nil || saw.Sha256 != hash || saw.Chunked {
			return fmt.Errorf("%+v %v", saw, err)
		}
		saw, err = tell(client.Post(base+"/echo/", "text/plain", io.MultiReader(bytes.NewReader(sent))))
		if err != nil || saw.Sha256 != hash || !saw.Chunked {
			return fmt.Errorf("%+v %v", saw, err)
		}
		return nil
	})
	check("expect and trailers both ways", func() error {
		request, _ := http.NewRequest("PUT", base+"/echo/", io.MultiReader(strings.NewReader("hello")))
		request.Header.Set("Expect", "100-continue")
		request.Trailer = http.Header{"X-Sum": {"7"}}
		transport := &http.Transport{ExpectContinueTimeout: 5 * time.Second}
		started := time.Now()
		saw, err := tell((&http.Client{Transport: transport, Timeout: 30 * time.Second}).Do(request))
		if err != nil || saw.Length != 5 || len(saw.Trailers) != 1 || saw.Trailers[0][1] != "7" {
			return fmt.Errorf("%+v %v", saw, err)
		}
		if time.Since(started) > 4*time.Second {
			return fmt.Errorf("no 100 came")
		}
		request, _ = http.NewRequest("GET", base+"/trailers/", nil)
		request.Header.Set("TE", "trailers")
		response, err := client.Do(request)
		if err != nil {
			return err
		}
		defer response.Body.Close()
		io.Copy(io.Discard, response.Body)
		if response.Trailer.Get("X-Sum") != "42" {
			return fmt.Errorf("trailers: %v", response.Trailer)
		}
		return nil
	})
	check("gzip, 204, 304, HEAD", func() error {
		for path, size := range map[string]int64{"/gzip/300000": 300000, "/status/204": 0, "/status/304": 0} {
			response, err := client.Get(base + path)
			if err != nil {
				return err
			}
			count, err := io.Copy(io.Discard, response.Body)
			response.Body.Close()
			if err != nil || count != size {
				return fmt.Errorf("%s: %d bytes, %v", path, count, err)
			}
		}
		response, err := client.Head(base + "/bytes/777")
		if err != nil || response.ContentLength != 777 {
			return fmt.Errorf("%v %v", response, err)
		}
		return nil
	})
	check("given up midway, then another", func() error {
		for turn := 0; turn < 20; turn++ {
			ctx, cancel := context.WithCancel(context.Background())
			request, _ := http.NewRequestWithContext(ctx, "GET", base+"/bytes/20000000", nil)
			response, err := client.Do(request)
			if err != nil {
				cancel()
				return err
			}
			response.Body.Read(make([]byte, 1000))
			cancel()
			response.Body.Close()
		}
		response, err := client.Get(base + "/bytes/9")
		if err != nil || response.ContentLength != 9 {
			return fmt.Errorf("%v %v", response, err)
		}
		return response.Body.Close()
	})
	if failed {
		os.Exit(1)
	}
	fmt.Println("done")
}
