package main

import (
	"context"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
)

const (
	provisioner   = "taskflow.cluster/local-path"
	volumesFolder = "/var/local-path-provisioner"

	chosenNode    = "volume.kubernetes.io/selected-node"
	wanted        = "volume.kubernetes.io/storage-provisioner"
	provisionedBy = "pv.kubernetes.io/provisioned-by"
)

// storage makes and removes the volumes of one node.
type storage struct {
	client   kubernetes.Interface
	nodeName string
}

// provide makes the volume of a claim that has none and whose Pod is to run on this node.
func (s *storage) provide(claim *corev1.PersistentVolumeClaim) error {
	mine := claim.Annotations[wanted] == provisioner && claim.Annotations[chosenNode] == s.nodeName
	if !mine || claim.Spec.VolumeName != "" || claim.DeletionTimestamp != nil {
		return nil
	}
	name := "pvc-" + string(claim.UID)
	folder := filepath.Join(volumesFolder, name)
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	// Any user may write there; the mode given to MkdirAll would be cut by the umask.
	if err := os.Chmod(folder, 0o777); err != nil {
		return err
	}
	_, err := s.client.CoreV1().PersistentVolumes().Create(context.Background(), s.volume(name, claim), metav1.CreateOptions{})
	if errors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (s *storage) volume(name string, claim *corev1.PersistentVolumeClaim) *corev1.PersistentVolume {
	here := corev1.NodeSelectorRequirement{
		Key: corev1.LabelHostname, Operator: corev1.NodeSelectorOpIn, Values: []string{s.nodeName},
	}
	kind := corev1.HostPathDirectoryOrCreate
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{provisionedBy: provisioner}},
		Spec: corev1.PersistentVolumeSpec{
			Capacity:                      corev1.ResourceList(claim.Spec.Resources.Requests),
			AccessModes:                   claim.Spec.AccessModes,
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimDelete,
			StorageClassName:              *claim.Spec.StorageClassName,
			ClaimRef: &corev1.ObjectReference{
				APIVersion: "v1", Kind: "PersistentVolumeClaim",
				Namespace: claim.Namespace, Name: claim.Name, UID: claim.UID,
			},
			PersistentVolumeSource: corev1.PersistentVolumeSource{
				HostPath: &corev1.HostPathVolumeSource{Path: filepath.Join(volumesFolder, name), Type: &kind},
			},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{
				NodeSelectorTerms: []corev1.NodeSelectorTerm{{MatchExpressions: []corev1.NodeSelectorRequirement{here}}},
			}},
		},
	}
}

// remove deletes a volume of this node, with its directory, once its claim is gone.
func (s *storage) remove(volume *corev1.PersistentVolume) error {
	released := volume.Status.Phase == corev1.VolumeReleased && volume.Annotations[provisionedBy] == provisioner
	if !released || volume.Spec.PersistentVolumeReclaimPolicy != corev1.PersistentVolumeReclaimDelete || !s.holds(volume) {
		return nil
	}
	if err := os.RemoveAll(filepath.Join(volumesFolder, volume.Name)); err != nil {
		return err
	}
	err := s.client.CoreV1().PersistentVolumes().Delete(context.Background(), volume.Name, metav1.DeleteOptions{})
	if errors.IsNotFound(err) {
		return nil
	}
	return err
}

func (s *storage) holds(volume *corev1.PersistentVolume) bool {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return false
	}
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		for _, one := range term.MatchExpressions {
			if one.Key == corev1.LabelHostname && len(one.Values) == 1 && one.Values[0] == s.nodeName {
				return true
			}
		}
	}
	return false
}
