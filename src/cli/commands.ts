import { OPERATOR } from '../api/group.ts';

/** The default of `--namespace`: `install` creates it, and `uninstall` and `check` look for the operator there. */
export const DEFAULT_NAMESPACE = 'gateway-upstream-system';
/** The default of `--output` of `install`. */
export const DEFAULT_KUBECONFIG_OUTPUT = `${OPERATOR}.kubeconfig`;

/** A flag as `parseArgs` reads it, with its text in the help. */
export interface Flag {
  readonly type: 'string' | 'boolean';
  readonly short?: string;
  readonly multiple?: boolean;
  /** Stands for the value in the help. */
  readonly value?: string;
  readonly help: string;
}

export type Flags = Readonly<Record<string, Flag>>;

export interface CommandDescription {
  /** One line, for the list of commands. */
  readonly summary: string;
  readonly description: string;
  /** Each with a comment that says what it does. */
  readonly examples: readonly (readonly [comment: string, command: string])[];
  readonly flags: Flags;
}

const KUBECONFIG_DEFAULT = 'default: $KUBECONFIG, ~/.kube/config, or the ServiceAccount of the Pod';

const kubeconfig = {
  type: 'string',
  value: 'FILE',
  help: `Use this kubeconfig (${KUBECONFIG_DEFAULT})`,
} as const;

const MANIFEST_FLAGS = {
  namespace: {
    type: 'string',
    value: 'NAMESPACE',
    help: `Namespace of the operator (default: ${DEFAULT_NAMESPACE})`,
  },
  namespaces: {
    type: 'string',
    value: 'NAMESPACE,...',
    help: 'Grant permissions in these namespaces only (default: the whole cluster)',
  },
  'secret-namespaces': {
    type: 'string',
    value: 'NAMESPACE,...',
    help: 'Grant permission to read the Secrets of these namespaces, for spec.tls of GatewayUpstreams (default: none)',
  },
  'watch-nodes': {
    type: 'boolean',
    help: 'Grant permission to watch nodes, which watchNodes in the configuration needs',
  },
  'read-endpoints': {
    type: 'boolean',
    help: 'Grant permission to watch Endpoints, which readEndpoints in the configuration needs',
  },
  'crds-only': { type: 'boolean', help: 'Include the CRDs only' },
} as const;

const VIEW_FLAGS = {
  config: {
    type: 'string',
    value: 'FILE',
    help: 'Read the configuration of the operator from this YAML file (default: built-in defaults)',
  },
  namespace: {
    type: 'string',
    value: 'NAMESPACE',
    help: `Namespace of the operator (default: operatorNamespace of the configuration, $POD_NAMESPACE, or ${DEFAULT_NAMESPACE})`,
  },
  kubeconfig: {
    ...kubeconfig,
    help: `Use this kubeconfig (default: kubeconfig of the configuration, $KUBECONFIG, ~/.kube/config, or the ServiceAccount of the Pod)`,
  },
} as const;

/** The commands in the order in which the help lists them. */
export const COMMANDS = {
  run: {
    summary: 'Run the operator',
    description: `Run the operator until it receives SIGTERM or SIGINT.

Several replicas may run at the same time. The replica that holds the Lease writes to the gateways, and the others
stand by.`,
    examples: [
      ['Run the operator with a configuration file', `${OPERATOR} run --config config.yaml`],
      [
        'Run the operator outside the cluster, with the default configuration',
        `POD_NAMESPACE=${DEFAULT_NAMESPACE} KUBECONFIG=${DEFAULT_KUBECONFIG_OUTPUT} ${OPERATOR} run`,
      ],
    ],
    flags: {
      config: {
        type: 'string',
        value: 'FILE',
        help: 'Read the configuration from this YAML file (default: built-in defaults)',
      },
    },
  },
  install: {
    summary: 'Install the CRDs and the permissions of the operator',
    description: `Install the CRDs, the namespace, the ServiceAccount, and the roles and role bindings of the operator.

Run the command again to upgrade or repair an installation. The command does not start the operator. To install the
operator and its Deployment together, use the Helm chart.`,
    examples: [
      ['Install everything that the operator needs', `${OPERATOR} install`],
      ['Upgrade the CRDs only', `${OPERATOR} install --crds-only`],
      ['Limit the permissions to two namespaces', `${OPERATOR} install --namespaces shop,blog`],
      [
        'Also write a kubeconfig for an operator that runs outside the cluster',
        `${OPERATOR} install --out-of-cluster --token-duration 48h`,
      ],
    ],
    flags: {
      ...MANIFEST_FLAGS,
      kubeconfig,
      'out-of-cluster': {
        type: 'boolean',
        help: 'Also write a kubeconfig for an operator that runs outside the cluster',
      },
      output: {
        type: 'string',
        value: 'FILE',
        help: `Write the kubeconfig of --out-of-cluster to this file (default: ${DEFAULT_KUBECONFIG_OUTPUT})`,
      },
      force: { type: 'boolean', help: 'Overwrite the file of --output even if install did not write it' },
      'token-duration': {
        type: 'string',
        value: 'DURATION',
        help: 'Lifetime of the token in the kubeconfig, at least 10m (default: 24h)',
      },
      'long-lived': {
        type: 'boolean',
        help: 'Use a token that does not expire; Kubernetes stores it in a Secret',
      },
    },
  },
  print: {
    summary: 'Print the objects that install applies',
    description: `Print the objects that install applies, as YAML. The command does not connect to a cluster.`,
    examples: [
      ['Apply the objects with kubectl', `${OPERATOR} print | kubectl apply --server-side -f -`],
      ['Print the CRDs only', `${OPERATOR} print --crds-only`],
    ],
    flags: MANIFEST_FLAGS,
  },
  uninstall: {
    summary: 'Uninstall the operator',
    description: `Uninstall what install applied: CRDs, ServiceAccount, roles and role bindings. The namespace is kept.

Run the command while the operator is still running, and choose with --finalizers what happens to the
GatewayUpstreams that exist. The command takes the Lease of the operator and removes the operator's finalizers,
so that no object waits for an operator that no longer runs.

Exit codes: 0 if the command succeeded, 1 if it failed, 2 if the command line is wrong, 3 if it cannot succeed until
you change something.`,
    examples: [
      ['Uninstall the operator if there are no GatewayUpstreams', `${OPERATOR} uninstall`],
      [
        'Uninstall the operator and keep the upstreams in the gateways',
        `${OPERATOR} uninstall --finalizers orphan`,
      ],
      ['Uninstall the operator and delete its upstreams', `${OPERATOR} uninstall --finalizers delete`],
    ],
    flags: {
      namespace: MANIFEST_FLAGS.namespace,
      kubeconfig,
      namespaces: {
        type: 'string',
        value: 'NAMESPACE,...',
        help: 'Uninstall the operator of these namespaces, and keep the GatewayUpstreams of other operators (default: all namespaces)',
      },
      finalizers: {
        type: 'string',
        value: 'refuse|orphan|delete',
        help: 'How to handle existing GatewayUpstreams: stop with an error, keep their upstreams in the gateways, or delete both (default: refuse)',
      },
      'keep-crds': { type: 'boolean', help: 'Keep the CRDs and all custom resources' },
      'keep-rbac': { type: 'boolean', help: 'Keep the ServiceAccount, roles and role bindings' },
      'lease-name': {
        type: 'string',
        value: 'NAME',
        help: `Name of the operator's Lease (default: ${OPERATOR})`,
      },
      'keep-lease': {
        type: 'boolean',
        help: 'Keep the Lease, so that no operator can become leader until it expires (about 30s)',
      },
      timeout: {
        type: 'string',
        value: 'DURATION',
        help: 'How long to wait for the operator (default: 5m)',
      },
    },
  },
  check: {
    summary: 'Check permissions, CRDs, gateways and GatewayUpstreams',
    description: `Check that the operator can work: the API server, permissions, CRDs, gateways, the Lease and the status of every
GatewayUpstream. Each failure comes with a remedy.

The checks use the identity of the kubeconfig, so use the kubeconfig or the Pod of the operator. The command changes nothing. To test
the admin key, it sends each gateway a DELETE request for an upstream with a random id that does not exist.

Exit codes: 0 if all checks passed, 1 if a check failed, 2 if the command line or the configuration is wrong.`,
    examples: [
      [
        'Run the checks in the Pod of the operator',
        `kubectl -n ${DEFAULT_NAMESPACE} exec deploy/${OPERATOR} -- ${OPERATOR} check --config /etc/${OPERATOR}/config.yaml`,
      ],
      ['Print the result as JSON', `${OPERATOR} check --output json`],
    ],
    flags: {
      ...VIEW_FLAGS,
      output: {
        type: 'string',
        short: 'o',
        value: 'text|json',
        help: 'Output format (default: text)',
      },
    },
  },
  plan: {
    summary: 'Show what the operator would change in the gateways',
    description: `Show what the operator would change in the gateways, and why. The command changes nothing.

The command reads the objects from a cluster, or from files with --file. It reads the upstreams from the gateways, or
from a file with --gateway-state. It asks service registries once for the services that the objects use, or reads
them from a file with --registry-state.

Exit codes: 0 if there is nothing to change, 2 if there are changes, 1 if the command failed or could not read a gateway
or a registry.`,
    examples: [
      ['Compare a cluster with its gateways', `${OPERATOR} plan`],
      [
        'Review a change before you apply it',
        `${OPERATOR} plan --file cluster.yaml --file change.yaml --cluster-id production`,
      ],
      ['Show one namespace and one GatewayUpstream', `${OPERATOR} plan --only shop --only bank/web`],
      [
        'Generate GatewayUpstreams that take over existing upstreams',
        `${OPERATOR} plan --from-apisix > upstreams.yaml`,
      ],
    ],
    flags: {
      ...VIEW_FLAGS,
      file: {
        type: 'string',
        short: 'f',
        multiple: true,
        value: 'FILE',
        help: 'Read objects from this YAML or JSON file instead of a cluster; - is standard input; may be repeated',
      },
      'gateway-state': {
        type: 'string',
        value: 'FILE',
        help: 'Read upstreams from this file instead of the gateways: the response of GET /apisix/admin/upstreams, or a mapping of GatewayConnection names to such responses',
      },
      'registry-state': {
        type: 'string',
        value: 'FILE',
        help: 'Read services from this file instead of the registries: a mapping of ServiceRegistry names to mappings of services to answers of the registry',
      },
      'cluster-id': {
        type: 'string',
        value: 'ID',
        help: 'Cluster id of the operator (default: clusterId of the configuration, or the uid of Namespace kube-system)',
      },
      only: {
        type: 'string',
        multiple: true,
        value: 'NAMESPACE[/NAME]',
        help: 'Show these GatewayUpstreams only; may be repeated',
      },
      'from-apisix': {
        type: 'boolean',
        help: 'Instead of a plan, print GatewayUpstreams that would take over the upstreams without an owner',
      },
      into: {
        type: 'string',
        value: 'NAMESPACE',
        help: 'Namespace of the GatewayUpstreams that --from-apisix prints (default: the namespace of each Service)',
      },
      registry: {
        type: 'string',
        multiple: true,
        value: 'NAME',
        help: 'ServiceRegistry that --from-apisix uses if several match an upstream; may be repeated',
      },
      output: {
        type: 'string',
        short: 'o',
        value: 'text|json|yaml',
        help: 'Output format (default: text)',
      },
      color: {
        type: 'string',
        value: 'auto|always|never',
        help: 'When to color the text output (default: auto)',
      },
    },
  },
} as const satisfies Readonly<Record<string, CommandDescription>>;

export type CommandName = keyof typeof COMMANDS;
