// Go's net/http as a client of HTTP/2. Usage: go_http2 URL CA
package main

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"sync"
	"time"
)

var base = os.Args[1]

func client() *http.Client {
	pem, err := os.ReadFile(os.Args[2])
	if err != nil {
		panic(err)
	}
	pool := x509.NewCertPool()
	pool.AppendCertsFromPEM(pem)
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool}, ForceAttemptHTTP2: true}
	return &http.Client{Transport: transport, Timeout: 60 * time.Second}
}

func check(name string, run func(*http.Client) error) {
	if err := run(client()); err != nil {
		fmt.Printf("FAIL %s: %v\n", name, err)
	} else {
		fmt.Printf("ok %s\n", name)
	}
}

func get(client *http.Client, path string) (*http.Response, []byte, error) {
	answer, err := client.Get(base + path)
	if err != nil {
		return nil, nil, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	return answer, body, err
}

func main() {
	for _, prefix := range []string{"", "/node"} {
		prefix := prefix
		check(prefix+" 500 requests from 50 goroutines", func(client *http.Client) error {
			var group sync.WaitGroup
			wrong := make(chan error, 500)
			for turn := 0; turn < 50; turn++ {
				group.Add(1)
				go func() {
					defer group.Done()
					for number := 0; number < 10; number++ {
						answer, body, err := get(client, fmt.Sprintf("%s/bytes/%d", prefix, number*5000))
						if err != nil {
							wrong <- err
						} else if answer.Proto != "HTTP/2.0" || len(body) != number*5000 {
							wrong <- fmt.Errorf("%s, %d bytes", answer.Proto, len(body))
						}
					}
				}()
			}
			group.Wait()
			close(wrong)
			return <-wrong
		})
		check(prefix+" an upload of 20 MiB without a length", func(client *http.Client) error {
			body := io.MultiReader(bytes.NewReader(make([]byte, 20<<20)))
			answer, err := client.Post(base+prefix+"/echo/", "application/octet-stream", body)
			if err != nil {
				return err
			}
			defer answer.Body.Close()
			told, err := io.ReadAll(answer.Body)
			if err == nil && !bytes.Contains(told, []byte("20971520")) {
				err = fmt.Errorf("the server saw %s", told)
			}
			return err
		})
		check(prefix+" trailers and early hints", func(client *http.Client) error {
			request, _ := http.NewRequest("GET", base+prefix+"/trailers/", nil)
			request.Header.Set("TE", "trailers")
			answer, err := client.Do(request)
			if err != nil {
				return err
			}
			io.Copy(io.Discard, answer.Body)
			answer.Body.Close()
			if answer.Trailer.Get("X-Sum") != "42" {
				return fmt.Errorf("trailers are %v", answer.Trailer)
			}
			hints := 0
			trace := &httptrace.ClientTrace{Got1xxResponse: func(code int, _ textproto.MIMEHeader) error {
				hints += code
				return nil
			}}
			request, _ = http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", base+prefix+"/hints/", nil)
			answer, err = client.Do(request)
			if err != nil {
				return err
			}
			answer.Body.Close()
			if hints != 103 {
				return fmt.Errorf("hints are %d", hints)
			}
			return nil
		})
		check(prefix+" a request given up in the middle leaves the others", func(client *http.Client) error {
			limited, cancel := context.WithCancel(context.Background())
			request, _ := http.NewRequestWithContext(limited, "GET", base+prefix+"/bytes/100000000", nil)
			answer, err := client.Do(request)
			if err != nil {
				return err
			}
			io.CopyN(io.Discard, answer.Body, 1000)
			cancel()
			answer.Body.Close()
			_, body, err := get(client, prefix+"/bytes/1000")
			if err == nil && len(body) != 1000 {
				err = fmt.Errorf("%d bytes", len(body))
			}
			return err
		})
	}
	fmt.Println("done")
}
