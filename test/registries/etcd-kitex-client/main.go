// Registers instances in etcd with Kitex, for record-etcd.ts. The first one is deregistered when the standard input ends.
package main

import (
	"fmt"
	"io"
	"log"
	"os"

	"github.com/cloudwego/kitex/pkg/registry"
	"github.com/cloudwego/kitex/pkg/utils"
	etcd "github.com/kitex-contrib/registry-etcd"
)

func main() {
	kitex, err := etcd.NewEtcdRegistry([]string{os.Args[1]})
	check(err)
	instances := []*registry.Info{
		{
			ServiceName: "orders", Addr: utils.NewNetAddr("tcp", "198.51.100.1:8888"), Weight: 20,
			Tags: map[string]string{"version": "v2", "zone": "a"},
		},
		{ServiceName: "orders", Addr: utils.NewNetAddr("tcp", "[2001:db8::1]:8888")},
		{ServiceName: "orders-canary", Addr: utils.NewNetAddr("tcp", "198.51.100.4:8888")},
	}
	for _, instance := range instances {
		check(kitex.Register(instance))
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin)
	check(kitex.Deregister(instances[0]))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
