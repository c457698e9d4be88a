package main

import (
	"bytes"
	"fmt"
	"net"
	"os"
	"os/exec"
	"strings"

	"github.com/vishvananda/netlink"
	corev1 "k8s.io/api/core/v1"
)

const cniConfig = "/etc/cni/net.d/10-taskflow.conflist"

// Each Pod has a pair of virtual interfaces and an address of its node's range; host ports are forwarded.
const cniTemplate = `{
  "cniVersion": "0.4.0",
  "name": "taskflow",
  "plugins": [
    {
      "type": "ptp",
      "ipMasq": false,
      "ipam": {"type": "host-local", "ranges": [[{"subnet": "%s"}]], "routes": [{"dst": "0.0.0.0/0"}]}
    },
    {"type": "portmap", "capabilities": {"portMappings": true}}
  ]
}
`

// connect makes this node's Pods reach those of the given node, or have addresses where it is this node itself.
func connect(node *corev1.Node, thisNode string) error {
	if node.Spec.PodCIDR == "" {
		return nil // the controller manager has not chosen it yet
	}
	if node.Name == thisNode {
		return writeChanged(cniConfig, fmt.Appendf(nil, cniTemplate, node.Spec.PodCIDR))
	}
	_, subnet, err := net.ParseCIDR(node.Spec.PodCIDR)
	if err != nil {
		return fmt.Errorf("node %s: podCIDR: %w", node.Name, err)
	}
	for _, address := range node.Status.Addresses {
		if gateway := net.ParseIP(address.Address).To4(); address.Type == corev1.NodeInternalIP && gateway != nil {
			return netlink.RouteReplace(&netlink.Route{Dst: subnet, Gw: gateway})
		}
	}
	return nil
}

// masquerade gives what leaves the Pod network the node's address; Pods see each other's own.
func masquerade(podSubnet string) error {
	rule := []string{"POSTROUTING", "-s", podSubnet, "!", "-d", podSubnet, "-j", "MASQUERADE"}
	if iptables("-C", rule) == nil {
		return nil
	}
	return iptables("-A", rule)
}

func iptables(action string, rule []string) error {
	return execute("", "iptables", append([]string{"-w", "-t", "nat", action}, rule...)...)
}

// execute runs a program with some input. Where it fails, the error has what it printed.
func execute(input, program string, arguments ...string) error {
	command := exec.Command(program, arguments...)
	command.Stdin = strings.NewReader(input)
	output, err := command.CombinedOutput()
	if err != nil {
		return fmt.Errorf("%s %s: %w: %s", program, strings.Join(arguments, " "), err, output)
	}
	return nil
}

// writeChanged replaces a file at once, and leaves one alone that has the content already.
func writeChanged(path string, content []byte) error {
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, content) {
		return nil
	}
	if err := os.WriteFile(path+".new", content, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
