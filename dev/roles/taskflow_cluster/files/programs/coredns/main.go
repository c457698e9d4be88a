// CoreDNS with the plugins that a cluster's Corefile names, and no others: the rest would only take time to compile.
package main

import (
	"github.com/coredns/coredns/core/dnsserver"
	"github.com/coredns/coredns/coremain"

	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/forward"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/loadbalance"
	_ "github.com/coredns/coredns/plugin/loop"
	_ "github.com/coredns/coredns/plugin/metrics"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/reload"
)

// The order in which a query passes the plugins; CoreDNS keeps it in a file that its own build generates.
var order = []string{
	"reload", "health", "ready", "prometheus", "errors", "cache", "loadbalance", "loop", "kubernetes", "forward",
}

func main() {
	dnsserver.Directives = order
	coremain.Run()
}
