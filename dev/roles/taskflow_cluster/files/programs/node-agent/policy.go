package main

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/util/intstr"
	"k8s.io/client-go/informers"
	corelisters "k8s.io/client-go/listers/core/v1"
	networkinglisters "k8s.io/client-go/listers/networking/v1"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// retryPause is how long to wait before a table that nft refused is tried again, though no object has changed.
const retryPause = time.Second

// nft replaces the table as a whole. What it drops stays dropped, whatever other tables say.
const policyTemplate = `table ip taskflow
delete table ip taskflow
table ip taskflow {
%s	chain forward {
		type filter hook forward priority -10; policy accept;
		ct state established,related accept
%s	}
}
`

// policies has the packet filter of one node judge new connections by the NetworkPolicies. A Pod of this node that a
// policy selects has a chain for each direction: it returns what some policy allows, and drops the rest.
type policies struct {
	nodeName   string
	policies   networkinglisters.NetworkPolicyLister
	pods       corelisters.PodLister
	namespaces corelisters.NamespaceLister
}

// enforce works until the process is killed.
func enforce(factory informers.SharedInformerFactory, nodeName string) error {
	wanted, core := factory.Networking().V1().NetworkPolicies(), factory.Core().V1()
	p := &policies{nodeName, wanted.Lister(), core.Pods().Lister(), core.Namespaces().Lister()}
	changed := make(chan struct{}, 1)
	notify := func(any) {
		select {
		case changed <- struct{}{}:
		default: // it has yet to look at the change before
		}
	}
	handler := cache.ResourceEventHandlerFuncs{
		AddFunc: notify, UpdateFunc: func(_, object any) { notify(object) }, DeleteFunc: notify,
	}
	for _, one := range []cache.SharedIndexInformer{
		wanted.Informer(), core.Pods().Informer(), core.Namespaces().Informer(),
	} {
		if _, err := one.AddEventHandler(handler); err != nil {
			return err
		}
	}
	forever := context.Background().Done()
	factory.Start(forever)
	factory.WaitForCacheSync(forever)
	for applied := ""; ; <-changed {
		if table := p.table(); table != applied {
			if err := execute(table, "nft", "-f", "-"); err != nil {
				klog.Error(err)
				time.AfterFunc(retryPause, func() { notify(nil) })
				continue
			}
			applied = table
		}
	}
}

// table returns the rules for all policies, the same text for the same objects.
func (p *policies) table() string {
	found, _ := p.policies.List(labels.Everything()) // a cache does not fail
	ingress, egress := map[string][]string{}, map[string][]string{}
	for _, policy := range found {
		for _, pod := range p.selected(policy.Namespace, &policy.Spec.PodSelector) {
			if pod.Spec.NodeName == p.nodeName {
				p.add(ingress, egress, policy, pod)
			}
		}
	}
	var chains, jumps strings.Builder
	write := func(direction, end string, allowed map[string][]string) {
		for _, address := range slices.Sorted(maps.Keys(allowed)) {
			fmt.Fprintf(&chains, "\tchain %s-%s {\n\t\tip saddr %[2]s ip daddr %[2]s return\n", direction, address)
			slices.Sort(allowed[address])
			for _, match := range slices.Compact(allowed[address]) {
				fmt.Fprintf(&chains, "\t\t%s return\n", match)
			}
			chains.WriteString("\t\tdrop\n\t}\n")
			fmt.Fprintf(&jumps, "\t\tip %s %s jump %s-%[2]s\n", end, address, direction)
		}
	}
	write("egress", "saddr", egress)
	write("ingress", "daddr", ingress)
	return fmt.Sprintf(policyTemplate, chains.String(), jumps.String())
}

// add notes what a policy allows to a Pod that it selects. A Pod without an entry may do everything.
func (p *policies) add(ingress, egress map[string][]string, policy *networkingv1.NetworkPolicy, pod *corev1.Pod) {
	address := pod.Status.PodIP
	if slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeIngress) {
		allowed := ingress[address]
		for _, rule := range policy.Spec.Ingress {
			from := p.peers("saddr", policy.Namespace, rule.From)
			allowed = append(allowed, both(from, ports(rule.Ports, []*corev1.Pod{pod}))...)
		}
		ingress[address] = allowed
	}
	if slices.Contains(policy.Spec.PolicyTypes, networkingv1.PolicyTypeEgress) {
		allowed := egress[address]
		for _, rule := range policy.Spec.Egress {
			to := p.peers("daddr", policy.Namespace, rule.To)
			allowed = append(allowed, both(to, ports(rule.Ports, p.selected("", &metav1.LabelSelector{})))...)
		}
		egress[address] = allowed
	}
}

// peers returns what the address of a connection's other end has to match: any of these.
func (p *policies) peers(end, namespace string, peers []networkingv1.NetworkPolicyPeer) []string {
	if len(peers) == 0 {
		return []string{""}
	}
	var matches []string
	for _, peer := range peers {
		if peer.IPBlock != nil {
			matches = append(matches, block(end, peer.IPBlock)...)
			continue
		}
		selector := peer.PodSelector
		if selector == nil {
			selector = &metav1.LabelSelector{}
		}
		names := []string{namespace}
		if peer.NamespaceSelector != nil {
			names = nil
			found, _ := p.namespaces.List(asSelector(peer.NamespaceSelector))
			for _, one := range found {
				names = append(names, one.Name)
			}
		}
		var addresses []string
		for _, name := range names {
			for _, pod := range p.selected(name, selector) {
				addresses = append(addresses, pod.Status.PodIP)
			}
		}
		matches = append(matches, oneOf(end, addresses)...)
	}
	return matches
}

// selected returns the Pods of a namespace, or of all, that have an address of their own.
func (p *policies) selected(namespace string, selector *metav1.LabelSelector) []*corev1.Pod {
	found, _ := p.pods.Pods(namespace).List(asSelector(selector))
	return slices.DeleteFunc(found, func(pod *corev1.Pod) bool {
		// The address of one that has ended may be another's.
		ended := pod.Status.Phase == corev1.PodSucceeded || pod.Status.Phase == corev1.PodFailed
		address, err := netip.ParseAddr(pod.Status.PodIP)
		return ended || pod.Spec.HostNetwork || err != nil || !address.Is4()
	})
}

// ports returns what a connection's protocol and port have to match: any of these. A port that has a name is the one
// that a target calls so.
func ports(ports []networkingv1.NetworkPolicyPort, targets []*corev1.Pod) []string {
	if len(ports) == 0 {
		return []string{""}
	}
	var matches []string
	for _, port := range ports {
		protocol := strings.ToLower(string(*port.Protocol))
		switch {
		case port.Port == nil:
			matches = append(matches, "meta l4proto "+protocol)
		case port.Port.Type == intstr.String:
			named := map[int32][]string{}
			for _, pod := range targets {
				for _, container := range slices.Concat(pod.Spec.InitContainers, pod.Spec.Containers) {
					for _, one := range container.Ports {
						if one.Name == port.Port.StrVal && one.Protocol == *port.Protocol {
							named[one.ContainerPort] = append(named[one.ContainerPort], pod.Status.PodIP)
						}
					}
				}
			}
			for number, addresses := range named {
				to := oneOf("daddr", addresses)[0]
				matches = append(matches, fmt.Sprintf("%s %s dport %d", to, protocol, number))
			}
		case port.EndPort != nil && *port.EndPort > port.Port.IntVal:
			matches = append(matches, fmt.Sprintf("%s dport %d-%d", protocol, port.Port.IntVal, *port.EndPort))
		default:
			matches = append(matches, fmt.Sprintf("%s dport %d", protocol, port.Port.IntVal))
		}
	}
	return matches
}

// block returns the match of a range of addresses; nothing where it is one of IPv6, which no Pod has.
func block(end string, block *networkingv1.IPBlock) []string {
	match := ""
	for i, text := range append([]string{block.CIDR}, block.Except...) {
		prefix, err := netip.ParsePrefix(text)
		if err != nil || !prefix.Addr().Is4() {
			return nil
		}
		match += fmt.Sprintf(" ip %s %s%s", end, map[bool]string{true: "!= "}[i > 0], prefix.Masked())
	}
	return []string{match}
}

// oneOf returns the match of some addresses; nothing where there are none.
func oneOf(end string, addresses []string) []string {
	if len(addresses) == 0 {
		return nil
	}
	slices.Sort(addresses)
	return []string{fmt.Sprintf("ip %s { %s }", end, strings.Join(slices.Compact(addresses), ", "))}
}

// both returns what matches one of the first and one of the second.
func both(first, second []string) []string {
	var matches []string
	for _, one := range first {
		for _, other := range second {
			matches = append(matches, strings.TrimSpace(one+" "+other))
		}
	}
	return matches
}

func asSelector(selector *metav1.LabelSelector) labels.Selector {
	found, err := metav1.LabelSelectorAsSelector(selector)
	if err != nil {
		klog.Error(err)
		return labels.Nothing()
	}
	return found
}
