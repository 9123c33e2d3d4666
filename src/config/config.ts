import { readFileSync } from 'node:fs';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { durationMs, durationString } from '../api/schema.ts';

const MAX_DURATION = '24h';

/** A duration in milliseconds. A duration of 0 would cause a busy loop, and a timer cannot wait longer than 24.8 days. */
function duration(min: string) {
  return durationString
    .transform(durationMs)
    .refine((ms) => ms >= durationMs(min) && ms <= durationMs(MAX_DURATION), {
      error: `must be from ${min} to ${MAX_DURATION}`,
    });
}

const PORT = 'must be a port number from 0 to 65535';

/** A port as a number or as a string of digits, because both are common in YAML. */
const port = z.union(
  [
    z.int(PORT).min(0, PORT).max(65535, PORT),
    z
      .string()
      .regex(/^[0-9]{1,5}$/, PORT)
      .transform(Number)
      .pipe(z.int().max(65535, PORT)),
  ],
  { error: PORT },
);

/** A mapping that rejects unknown keys. */
function section<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `unknown key ${issue.keys.join(', ')}: expected one of ${Object.keys(shape).join(', ')}`
        : undefined,
  });
}

export const namespaceName = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
    'must be a namespace name: at most 63 lowercase letters, digits and "-", for example default',
  );

export const clusterIdName = z
  .string()
  .regex(/^\S{1,64}$/, 'must be 1 to 64 characters without spaces, for example production-eu');

export const leaseName = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
    'must be a Lease name: lowercase letters, digits, "-" and ".", for example gateway-upstream-operator',
  );

/** The configuration file. The chart has the same keys under `config`. */
export const configSchema = section({
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe(
      'Path to a kubeconfig. Default: `$KUBECONFIG`, `~/.kube/config`, or the ServiceAccount of the Pod.',
    ),
  operatorNamespace: namespaceName
    .optional()
    .describe(
      'Namespace of the operator. It contains the Lease and the Secrets that GatewayConnections refer to. Default: `$POD_NAMESPACE`, which the chart sets. The operator does not start without one of them.',
    ),
  clusterId: clusterIdName
    .optional()
    .describe(
      'Identifies this cluster in the ownership labels of upstreams, so that several clusters can share a gateway. After a change, the operator no longer recognizes the upstreams that it created before. Default: the uid of Namespace `kube-system`.',
    ),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('Minimum level of log messages.'),
  resyncInterval: duration('1s')
    .default(600_000)
    .describe('How often the operator lists all upstreams of a gateway and repairs differences.'),
  requestTimeout: duration('100ms').default(5000).describe('Timeout for a request to a gateway.'),
  namespaces: z
    .array(namespaceName)
    .max(64)
    .default([])
    .describe(
      'Namespaces that the operator watches, for installations without cluster-wide permissions. Empty: all namespaces.',
    ),
  secretNamespaces: z
    .array(namespaceName)
    .max(64)
    .refine((names) => new Set(names).size === names.length, 'must not contain a namespace twice')
    .default([])
    .describe(
      'Namespaces whose GatewayUpstreams may refer to Secrets of type `kubernetes.io/tls` in their own namespace (`spec.tls`). The operator needs permission to read the Secrets there. Empty: no namespace.',
    ),
  watchNodes: z
    .boolean()
    .default(false)
    .describe(
      'Whether to watch nodes. Addressing mode `Node` needs it. The ClusterRole must grant the permission.',
    ),
  readEndpoints: z
    .boolean()
    .default(false)
    .describe(
      "Whether to watch v1 Endpoints, for backends with a `serviceName` that has Endpoints but no Service. APISIX's own Kubernetes discovery supports such names.",
    ),
  watchRegistries: z
    .boolean()
    .default(true)
    .describe(
      'Whether to watch ServiceRegistries, for backends with `registryRef`. If false, the operator needs no permission for them, and the nodes of such backends stay as they are.',
    ),
  leaderElection: section({
    enabled: z
      .boolean()
      .default(true)
      .describe(
        'Whether replicas elect a leader. If false, run only one replica: it writes without a Lease.',
      ),
    leaseName: leaseName
      .default('gateway-upstream-operator')
      .describe('Name of the Lease in `operatorNamespace`.'),
    leaseDuration: duration('1s')
      .default(15_000)
      .describe(
        'How long standby replicas wait after the last renewal before one of them takes the Lease. Must be longer than `renewDeadline` plus `requestTimeout`.',
      ),
    renewDeadline: duration('100ms')
      .default(8000)
      .describe(
        'How long the leader tries to renew the Lease before it stops writing. Must be at least twice `retryPeriod`.',
      ),
    retryPeriod: duration('100ms')
      .default(2000)
      .describe('How often a replica tries to acquire or renew the Lease.'),
  })
    .default({
      enabled: true,
      leaseName: 'gateway-upstream-operator',
      leaseDuration: 15_000,
      renewDeadline: 8000,
      retryPeriod: 2000,
    })
    .describe(
      'Leader election between replicas. The leader writes to the gateways. Standby replicas watch the same objects, so that they can take over immediately.',
    ),
  permissionCheckInterval: duration('1s')
    .default(30_000)
    .describe('How often the operator checks its own permissions.'),
  roleName: z
    .string()
    .regex(
      /^[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?$/,
      'must be a ClusterRole name: lowercase letters, digits, "-" and ".", for example gateway-upstream-operator',
    )
    .default('gateway-upstream-operator')
    .describe("Name of the operator's ClusterRole and Roles, for messages about missing permissions."),
  statusConcurrency: z
    .int()
    .min(1)
    .max(64)
    .default(8)
    .describe('Maximum number of concurrent status writes.'),
  ops: section({
    host: z
      .string()
      .regex(
        /^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$/,
        'must be an IP address or a host name without scheme, port or brackets, for example 0.0.0.0',
      )
      .optional()
      .describe(
        'Address to listen on. Default: `0.0.0.0` in a Pod, so that the kubelet and Prometheus can connect, and `127.0.0.1` elsewhere.',
      ),
    port: port.default(8080).describe('Port to listen on. 0 selects a free port.'),
    debugState: z
      .boolean()
      .default(false)
      .describe(
        'Whether `/debug/state` shows the desired and the observed state of every upstream. The endpoint has no authentication.',
      ),
  })
    .default({ port: 8080, debugState: false })
    .describe('HTTP server for `/livez`, `/readyz` and `/metrics`.'),
})
  .refine(
    ({ namespaces, secretNamespaces }) =>
      namespaces.length === 0 || secretNamespaces.every((name) => namespaces.includes(name)),
    {
      path: ['secretNamespaces'],
      error:
        'must contain only namespaces that are also in namespaces, because the operator watches no others',
    },
  )
  .refine(
    ({ leaderElection, requestTimeout }) =>
      !leaderElection.enabled || leaderElection.renewDeadline + requestTimeout < leaderElection.leaseDuration,
    {
      path: ['leaderElection', 'leaseDuration'],
      error:
        'must be longer than renewDeadline plus requestTimeout, so that the last write of a leader ends before another replica can write',
    },
  )
  .refine(({ leaderElection: { retryPeriod, renewDeadline } }) => retryPeriod * 2 <= renewDeadline, {
    path: ['leaderElection', 'renewDeadline'],
    error:
      'must be at least twice retryPeriod, so that one failed renewal does not cost the leader its Lease',
  });

type FileConfig = z.output<typeof configSchema>;

/** The configuration file, completed from the environment. */
export type Config = Omit<FileConfig, 'operatorNamespace' | 'ops'> & {
  readonly operatorNamespace: string;
  readonly ops: FileConfig['ops'] & { readonly host: string };
};

/** A wrong configuration or command line; the message says what to write instead. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads the configuration from `file`, or uses the defaults if it is undefined. Throws `ConfigError`. */
export function readConfig(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const source = file ?? 'default configuration';
  const config = parseConfig(file === undefined ? {} : (readYaml(file) ?? {}), source);
  const operatorNamespace = config.operatorNamespace ?? env['POD_NAMESPACE'];
  if (operatorNamespace === undefined || operatorNamespace === '') {
    throw new ConfigError(
      `${source}: operatorNamespace and the environment variable POD_NAMESPACE are not set: set one of them to the namespace of the operator`,
    );
  }
  const ops = { ...config.ops, host: config.ops.host ?? defaultOpsHost(env) };
  return { ...config, operatorNamespace, ops };
}

/** Kubernetes sets KUBERNETES_SERVICE_HOST in every Pod. Outside a Pod, the metrics must not be exposed to the network. */
function defaultOpsHost(env: Readonly<Record<string, string | undefined>>): string {
  return (env['KUBERNETES_SERVICE_HOST'] ?? '') === '' ? '127.0.0.1' : '0.0.0.0';
}

/** Validates `value`, which was read from `source`. Throws `ConfigError` with one line per wrong key. */
export function parseConfig(value: unknown, source: string): FileConfig {
  const result = configSchema.safeParse(value, { error: expectation });
  if (result.success) return result.data;
  const lines = result.error.issues.map(
    ({ path, message }) => `  ${path.join('.') || '(top level)'}: ${message}`,
  );
  throw new ConfigError(`${source} is not valid:\n${[...new Set(lines)].join('\n')}`);
}

const KINDS: Readonly<Record<string, string>> = {
  object: 'a mapping of keys to values',
  array: 'a list',
  string: 'a string',
  number: 'a number without quotes',
  int: 'an integer',
  boolean: 'true or false, without quotes',
};

/** The message for issues whose schema has no message of its own. */
function expectation(issue: z.core.$ZodRawIssue): string | undefined {
  switch (issue.code) {
    case 'invalid_type':
      return `must be ${KINDS[issue.expected] ?? issue.expected}, not ${given(issue.input)}`;
    case 'invalid_value':
      return `must be one of ${issue.values.join(', ')}, not ${given(issue.input)}`;
    case 'too_small':
      if (issue.origin === 'string') return 'must not be empty';
      return `must be at least ${issue.minimum}, not ${given(issue.input)}`;
    case 'too_big':
      if (issue.origin === 'array') return `must have at most ${issue.maximum} entries`;
      return `must be at most ${issue.maximum}, not ${given(issue.input)}`;
    default:
      return undefined;
  }
}

function given(value: unknown): string {
  if (value === undefined || value === null) return 'empty';
  if (Array.isArray(value)) return 'a list';
  return typeof value === 'object' ? 'a mapping' : JSON.stringify(value).slice(0, 64);
}

function readYaml(file: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (error) {
    throw new ConfigError(`${file} cannot be read: ${error instanceof Error ? error.message : error}`);
  }
  try {
    return parse(text) as unknown;
  } catch (error) {
    throw new ConfigError(`${file} is not valid YAML: ${yamlProblem(error)}`);
  }
}

/** The parser's message: several lines with line and column for a syntax error, one line for too many aliases. */
function yamlProblem(error: unknown): string {
  if (error instanceof YAMLParseError && error.code === 'RESOURCE_EXHAUSTION')
    return 'it is nested too deeply';
  return error instanceof Error ? error.message : String(error);
}
