// Command backend is the service behind the gateway in the end-to-end suite: an HTTP server that answers with the name of its
// Pod and ends at SIGTERM as most programs do, at once for new connections and after the running requests for the others.
package main

import (
	"context"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"os/signal"
	"syscall"
	"time"
)

func main() {
	// The image has no shell, so a preStop hook runs "backend sleep 5s".
	if len(os.Args) == 3 && os.Args[1] == "sleep" {
		duration, err := time.ParseDuration(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		time.Sleep(duration)
		return
	}
	name, err := os.Hostname()
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{
		Addr:              ":8080",
		ReadHeaderTimeout: 10 * time.Second,
		Handler: http.HandlerFunc(func(response http.ResponseWriter, _ *http.Request) {
			fmt.Fprintln(response, name)
		}),
	}
	terminated, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	drained := make(chan struct{})
	go func() {
		defer close(drained)
		<-terminated.Done()
		limit, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := server.Shutdown(limit); err != nil {
			log.Print(err)
		}
	}()
	if err := server.ListenAndServe(); !errors.Is(err, http.ErrServerClosed) {
		log.Fatal(err)
	}
	<-drained
}
