// Registers instances in etcd with go-zero, for record-etcd.ts. The first one is deregistered when the standard input ends.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/zeromicro/go-zero/core/discov"
	"github.com/zeromicro/go-zero/core/logx"
)

func main() {
	logx.Disable()
	endpoints := []string{os.Args[1]}
	publishers := []*discov.Publisher{}
	for _, one := range [][2]string{
		{"orders.rpc", "198.51.100.1:8080"},
		{"orders.rpc", "[2001:db8::1]:8080"},
		{"orders.rpc-canary", "198.51.100.3:8080"},
	} {
		publisher := discov.NewPublisher(endpoints, one[0], one[1])
		if err := publisher.KeepAlive(); err != nil {
			log.Fatal(err)
		}
		publishers = append(publishers, publisher)
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin)
	publishers[0].Stop()
	// Stop revokes the lease in the background.
	time.Sleep(time.Second)
}
