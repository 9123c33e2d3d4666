import { join } from 'node:path';
import { CLUSTER_CIDR, HOST_ADDRESS, POD_RANGE_START, POD_SUBNET } from './addresses.ts';
import { cgroupOf } from './clean-up.ts';
import { CNI_PLUGINS } from './prerequisites.ts';

/** Configuration files of the programs of a node, all in `folder`. */

export const PAUSE_IMAGE = 'e2e.test/pause:1';
export const NODE_NAME = 'e2e';

/** For containerd 1.6, of Debian, and newer ones, which still read version 2. */
export const containerdConfig = (folder: string) => `version = 2
root = "${folder}/containerd/root"
state = "${folder}/containerd/state"
oom_score = 0
disabled_plugins = ["io.containerd.snapshotter.v1.btrfs", "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs"]
[grpc]
  address = "${folder}/containerd.sock"
[plugins."io.containerd.internal.v1.opt"]
  path = "${folder}/containerd/opt"
[plugins."io.containerd.grpc.v1.cri"]
  sandbox_image = "${PAUSE_IMAGE}"
  # A machine may lack the capability to lower scores, as machines of CI do.
  restrict_oom_score_adj = true
  disable_apparmor = true
  tolerate_missing_hugetlb_controller = true
  netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".containerd]
  default_runtime_name = "runc"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
  runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
  SystemdCgroup = false
[plugins."io.containerd.grpc.v1.cri".cni]
  bin_dir = "${CNI_PLUGINS}"
  conf_dir = "${folder}/cni"
`;

export const cniConfig = (folder: string) => ({
  cniVersion: '1.0.0',
  name: 'pods',
  plugins: [
    {
      type: 'bridge',
      bridge: 'pods',
      isDefaultGateway: true,
      hairpinMode: true,
      ipam: {
        type: 'host-local',
        dataDir: join(folder, 'cni-addresses'),
        ranges: [[{ subnet: POD_SUBNET, rangeStart: POD_RANGE_START, gateway: HOST_ADDRESS }]],
      },
    },
  ],
});

export const kubeletConfig = (folder: string) => ({
  apiVersion: 'kubelet.config.k8s.io/v1beta1',
  kind: 'KubeletConfiguration',
  address: HOST_ADDRESS,
  readOnlyPort: 0,
  authentication: {
    anonymous: { enabled: false },
    webhook: { enabled: true },
    x509: { clientCAFile: join(folder, 'ca.crt') },
  },
  authorization: { mode: 'Webhook' },
  tlsCertFile: join(folder, 'kubelet.crt'),
  tlsPrivateKeyFile: join(folder, 'kubelet.key'),
  clusterDNS: [HOST_ADDRESS],
  clusterDomain: 'cluster.local',
  resolvConf: join(folder, 'resolv.conf'),
  cgroupDriver: 'cgroupfs',
  cgroupRoot: `/${cgroupOf(folder)}`,
  failCgroupV1: false,
  failSwapOn: false,
  oomScoreAdj: 0,
  enforceNodeAllocatable: ['pods'],
  containerRuntimeEndpoint: `unix://${folder}/containerd.sock`,
  // Images are imported once; none may be collected, and a full disk is not what is tested.
  imageGCHighThresholdPercent: 100,
  evictionHard: {
    'memory.available': '100Mi',
    'nodefs.available': '1%',
    'imagefs.available': '1%',
    'nodefs.inodesFree': '1%',
  },
  podLogsDir: join(folder, 'pod-logs'),
  volumePluginDir: join(folder, 'volume-plugins'),
  nodeStatusUpdateFrequency: '5s',
  shutdownGracePeriod: '0s',
});

export const kubeProxyConfig = (folder: string) => ({
  apiVersion: 'kubeproxy.config.k8s.io/v1alpha1',
  kind: 'KubeProxyConfiguration',
  mode: 'nftables',
  bindAddress: HOST_ADDRESS,
  healthzBindAddress: '127.0.0.1:10256',
  metricsBindAddress: '127.0.0.1:10249',
  hostnameOverride: NODE_NAME,
  clientConnection: { kubeconfig: join(folder, 'kube-proxy.kubeconfig') },
  clusterCIDR: CLUSTER_CIDR,
  detectLocalMode: 'ClusterCIDR',
  nodePortAddresses: ['127.0.0.1/32'],
  conntrack: { maxPerCore: 0, min: 0, tcpEstablishedTimeout: '0s', tcpCloseWaitTimeout: '0s' },
  oomScoreAdj: 0,
});

export const corefile = (folder: string) => `cluster.local:53 {
  bind ${HOST_ADDRESS}
  errors
  kubernetes cluster.local {
    kubeconfig ${folder}/admin.kubeconfig
    ttl 5
  }
}
.:53 {
  bind ${HOST_ADDRESS}
  template ANY ANY {
    rcode NXDOMAIN
  }
}
`;

/** Every Pod that asks for more than Pod Security \`restricted\` allows is refused, in every namespace. */
export const admissionConfig = {
  apiVersion: 'apiserver.config.k8s.io/v1',
  kind: 'AdmissionConfiguration',
  plugins: [
    {
      name: 'PodSecurity',
      configuration: {
        apiVersion: 'pod-security.admission.config.k8s.io/v1',
        kind: 'PodSecurityConfiguration',
        defaults: { enforce: 'restricted', 'enforce-version': 'latest' },
      },
    },
  ],
};
