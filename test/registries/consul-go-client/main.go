// Registers instances with Consul's own Go client, for record-consul.ts.
package main

import (
	"log"
	"os"

	"github.com/hashicorp/consul/api"
)

const ttl = "1h"

// The statuses of an instance with two checks: Consul takes the worst of them.
func checks(id string, statuses ...string) api.AgentServiceChecks {
	all := api.AgentServiceChecks{}
	for n, status := range statuses {
		all = append(all, &api.AgentServiceCheck{
			CheckID: id + "-" + []string{"http", "disk"}[n],
			TTL:     ttl,
			Status:  status,
		})
	}
	return all
}

func registrations() []*api.AgentServiceRegistration {
	one := func(service, id, address string, statuses ...string) *api.AgentServiceRegistration {
		return &api.AgentServiceRegistration{
			Name: service, ID: id, Address: address, Port: 8080, Checks: checks(id, statuses...),
		}
	}
	full := one("orders", "orders-1", "198.51.100.1", api.HealthPassing, api.HealthPassing)
	full.Tags = []string{"v2", "canary"}
	full.Meta = map[string]string{"version": "2", "zone": "a", "metrics_port": "9100"}
	full.Weights = &api.AgentWeights{Passing: 10, Warning: 1}

	warning := one("orders", "orders-2", "198.51.100.2", api.HealthPassing, api.HealthWarning)
	warning.Weights = &api.AgentWeights{Passing: 10, Warning: 1}

	maintenance := one("orders", "orders-4", "198.51.100.4", api.HealthPassing)

	bare := &api.AgentServiceRegistration{Name: "bare"}

	tagged := one("tagged", "tagged-1", "198.51.100.10", api.HealthPassing)
	tagged.TaggedAddresses = map[string]api.ServiceAddress{
		"lan": {Address: "192.0.2.10", Port: 9090},
		"wan": {Address: "203.0.113.10", Port: 443},
	}

	return []*api.AgentServiceRegistration{
		full,
		warning,
		one("orders", "orders-3", "198.51.100.3", api.HealthCritical),
		maintenance,
		bare,
		tagged,
		one("ipv6", "ipv6-1", "2001:db8::1", api.HealthPassing),
		one("named", "named-1", "db.example.com", api.HealthPassing),
		one("two-ports", "two-ports-1", "198.51.100.20", api.HealthPassing),
		{Name: "two-ports", ID: "two-ports-2", Address: "198.51.100.20", Port: 8081},
		one("left", "left-1", "198.51.100.30", api.HealthPassing),
	}
}

func registerAll(client *api.Client) {
	for _, registration := range registrations() {
		must(client.Agent().ServiceRegister(registration))
	}
	must(client.Agent().EnableServiceMaintenance("orders-4", "for the recording"))
	must(client.Agent().ServiceDeregister("left-1"))
	// A service outside of the agents, as Terraform and consul-esm register it.
	_, err := client.Catalog().Register(&api.CatalogRegistration{
		Node:    "external",
		Address: "198.51.100.40",
		Service: &api.AgentService{ID: "external-1", Service: "external", Port: 5432},
		Check:   &api.AgentCheck{CheckID: "external-1", Name: "tcp", ServiceID: "external-1", Status: api.HealthPassing},
	}, nil)
	must(err)
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}

func main() {
	config := api.DefaultConfig()
	config.Address = os.Args[1]
	client, err := api.NewClient(config)
	must(err)
	switch os.Args[2] {
	case "register":
		registerAll(client)
	case "node-maintenance":
		must(client.Agent().EnableNodeMaintenance("for the recording"))
	default:
		log.Fatalf("unknown command %s", os.Args[2])
	}
}
