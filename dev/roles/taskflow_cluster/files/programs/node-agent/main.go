// The node agent gives a node its Pod network and its volumes. It runs on every node, as a DaemonSet, where the node
// image is built and not pulled.
//
// Network: it writes the configuration of the CNI plugins for the node's range of Pod addresses, and a route to the
// range of each other node; NetworkPolicies become rules of nftables. Volumes: a claim of the storage class becomes a
// directory on the node that the scheduler chose for its first Pod.
package main

import (
	"fmt"
	"os"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"
	"k8s.io/klog/v2"
)

// What has gone wrong is tried again after this time, and what somebody else undid is done again.
const resync = 10 * time.Second

func main() {
	if err := run(os.Getenv("NODE_NAME"), os.Getenv("POD_SUBNET")); err != nil {
		klog.Fatal(err)
	}
}

// run works until it is killed. podSubnet is the range of all Pods of the cluster, such as 10.244.0.0/16.
func run(nodeName, podSubnet string) error {
	if nodeName == "" || podSubnet == "" {
		return fmt.Errorf("NODE_NAME and POD_SUBNET must be set")
	}
	config, err := rest.InClusterConfig()
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	if err := masquerade(podSubnet); err != nil {
		return err
	}
	factory := informers.NewSharedInformerFactory(client, resync)
	storage := &storage{client: client, nodeName: nodeName}
	watch(factory.Core().V1().Nodes().Informer(), func(node *corev1.Node) error { return connect(node, nodeName) })
	watch(factory.Core().V1().PersistentVolumeClaims().Informer(), storage.provide)
	watch(factory.Core().V1().PersistentVolumes().Informer(), storage.remove)
	return enforce(factory, nodeName)
}

// watch calls handle with each object when it appears, when it changes, and every ten seconds.
func watch[T any](informer cache.SharedIndexInformer, handle func(T) error) {
	do := func(object any) {
		if err := handle(object.(T)); err != nil {
			klog.Error(err)
		}
	}
	_, err := informer.AddEventHandler(cache.ResourceEventHandlerFuncs{
		AddFunc:    do,
		UpdateFunc: func(_, object any) { do(object) },
	})
	if err != nil {
		klog.Fatal(err)
	}
}
