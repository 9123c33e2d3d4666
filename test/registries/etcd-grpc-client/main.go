// Registers instances in etcd with gRPC naming, for record-etcd.ts. The first one is deregistered when the standard input ends.
package main

import (
	"context"
	"fmt"
	"io"
	"log"
	"os"

	clientv3 "go.etcd.io/etcd/client/v3"
	"go.etcd.io/etcd/client/v3/naming/endpoints"
)

func main() {
	ctx := context.Background()
	client, err := clientv3.New(clientv3.Config{Endpoints: []string{os.Args[1]}})
	check(err)
	manager := func(target string) endpoints.Manager {
		created, err := endpoints.NewManager(client, target)
		check(err)
		return created
	}
	orders := manager("orders")
	check(orders.AddEndpoint(ctx, "orders/198.51.100.1:8080", endpoints.Endpoint{
		Addr: "198.51.100.1:8080", Metadata: map[string]string{"zone": "a"},
	}))
	check(orders.AddEndpoint(ctx, "orders/second", endpoints.Endpoint{Addr: "[2001:db8::1]:8080"}))
	check(orders.AddEndpoint(ctx, "orders/third", endpoints.Endpoint{Addr: "198.51.100.2:8080", Metadata: 20}))
	check(manager("orders/canary").AddEndpoint(ctx, "orders/canary/1", endpoints.Endpoint{Addr: "198.51.100.3:8080"}))
	check(manager("orders-canary").AddEndpoint(ctx, "orders-canary/1", endpoints.Endpoint{Addr: "198.51.100.4:8080"}))
	fmt.Println("registered")
	_, _ = io.Copy(io.Discard, os.Stdin)
	check(orders.DeleteEndpoint(ctx, "orders/198.51.100.1:8080"))
}

func check(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
