// Registers instances in etcd with go-micro, for record-etcd.ts. The first one is deregistered when the standard input ends.
package main

import (
	"fmt"
	"io"
	"log"
	"os"
	"time"

	"github.com/go-micro/plugins/v4/registry/etcd"
	"go-micro.dev/v4/registry"
)

func main() {
	micro := etcd.NewRegistry(registry.Addrs(os.Args[1]))
	one := func(name, version, id, address string) *registry.Service {
		return &registry.Service{
			Name: name, Version: version, Metadata: map[string]string{"team": "shop"},
			Nodes: []*registry.Node{{
				Id: id, Address: address, Metadata: map[string]string{"zone": "a", "protocol": "http"},
			}},
		}
	}
	instances := []*registry.Service{
		one("orders", "2.0", "orders-1", "198.51.100.1:8080"),
		one("orders", "1.0", "orders-2", "[2001:db8::1]:8080"),
		one("orders/canary", "1.0", "canary-1", "198.51.100.3:8080"),
		one("orders-canary", "1.0", "orders-canary-1", "198.51.100.4:8080"),
	}
	for _, instance := range instances {
		// Without a lease, this version of the library crashes.
		check(micro.Register(instance, registry.RegisterTTL(time.Hour)))
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin)
	check(micro.Deregister(instances[0]))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
