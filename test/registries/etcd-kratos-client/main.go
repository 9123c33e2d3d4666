// Registers instances in etcd with Kratos, for record-etcd.ts. They are deregistered when the standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	"github.com/go-kratos/kratos/contrib/registry/etcd/v2"
	"github.com/go-kratos/kratos/v2/registry"
	clientv3 "go.etcd.io/etcd/client/v3"
)

func main() {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}})
	check(err)
	kratos := etcd.New(client)
	instances := []*registry.ServiceInstance{
		{
			ID: "orders-1", Name: "orders", Version: "v2",
			Metadata:  map[string]string{"zone": "a", "weight": "20"},
			Endpoints: []string{"http://198.51.100.1:8000?isSecure=false", "grpc://198.51.100.1:9000?isSecure=true"},
		},
		{ID: "orders-2", Name: "orders", Version: "v1", Endpoints: []string{"http://[2001:db8::1]:8000"}},
		{ID: "canary-1", Name: "orders/canary", Endpoints: []string{"http://198.51.100.3:8000"}},
		{ID: "orders-canary-1", Name: "orders-canary", Endpoints: []string{"http://198.51.100.4:8000"}},
	}
	for _, instance := range instances {
		check(kratos.Register(ctx, instance))
	}
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin)
	check(kratos.Deregister(ctx, instances[0]))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
