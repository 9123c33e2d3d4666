import { readFileSync } from 'node:fs';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { durationMs, durationString } from '../api/schema.ts';

const LONGEST = '24h';

/** A duration in milliseconds. Never 0, which would be a loop without a pause, nor more than a timer can wait. */
function duration(shortest: string) {
  return durationString
    .transform(durationMs)
    .refine((ms) => ms >= durationMs(shortest) && ms <= durationMs(LONGEST), {
      error: `must be from ${shortest} to ${LONGEST}`,
    });
}

const PORT = 'must be a port: a number from 0 to 65535';

/** A number, or its digits as a string: people write ports both ways. */
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

/** A mapping of these keys and no others. */
function section<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === 'unrecognized_keys'
        ? `does not know ${issue.keys.join(', ')}: expected ${Object.keys(shape).join(', ')}`
        : undefined,
  });
}

export const namespaceName = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/,
    'must be the name of a namespace: up to 63 lower case letters, digits and "-", for example default',
  );

export const clusterIdName = z
  .string()
  .regex(/^\S{1,64}$/, 'must be 1 to 64 characters without spaces, for example production-eu');

export const leaseName = z
  .string()
  .regex(
    /^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$/,
    'must be the name of a Lease: lower case letters, digits, "-" and ".", for example gateway-upstream-operator',
  );

/** The configuration file. Every key is also in the chart's values. */
export const configSchema = section({
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe("Path of a kubeconfig. Default: KUBECONFIG, the user's own, or the Pod's ServiceAccount."),
  operatorNamespace: namespaceName
    .optional()
    .describe("The operator's own namespace, where the Secrets of connections are. Default: POD_NAMESPACE."),
  clusterId: clusterIdName
    .optional()
    .describe(
      'Names this cluster on gateways that several share. Default: the uid of namespace kube-system.',
    ),
  logLevel: z
    .enum(['trace', 'debug', 'info', 'warn', 'error'])
    .default('info')
    .describe('The least important lines that are logged.'),
  resyncInterval: duration('1s')
    .default(600_000)
    .describe('Between two comparisons of everything that a gateway holds.'),
  requestTimeout: duration('100ms').default(5000).describe('For one request to a gateway.'),
  namespaces: z
    .array(namespaceName)
    .max(64)
    .default([])
    .describe('The only namespaces to look at, for installations without cluster-wide rights. Empty: all.'),
  secretNamespaces: z
    .array(namespaceName)
    .max(64)
    .refine((names) => new Set(names).size === names.length, 'must name each namespace once')
    .default([])
    .describe(
      'Namespaces whose GatewayUpstreams may refer to Secrets of type kubernetes.io/tls of their own (`spec.tls`): the operator may read the Secrets there. Empty: none.',
    ),
  watchNodes: z
    .boolean()
    .default(false)
    .describe('Whether nodes are watched, which addressing mode Node needs. The ClusterRole must allow it.'),
  readEndpoints: z
    .boolean()
    .default(false)
    .describe(
      "Whether v1 Endpoints are read for names that have no Service, as APISIX's own discovery does. For backends with `serviceName`.",
    ),
  leaderElection: section({
    enabled: z
      .boolean()
      .default(true)
      .describe('false: this is the only replica, and it writes without a lease.'),
    leaseName: leaseName
      .default('gateway-upstream-operator')
      .describe('Name of the Lease in operatorNamespace.'),
    leaseDuration: duration('1s')
      .default(15_000)
      .describe(
        'How long others wait for a leader that says nothing. Longer than renewDeadline and requestTimeout together.',
      ),
    renewDeadline: duration('100ms')
      .default(8000)
      .describe(
        'After this long without a successful renewal the leader stops writing. At least twice retryPeriod.',
      ),
    retryPeriod: duration('100ms').default(2000).describe('Between two tries to take or renew the lease.'),
  })
    .default({
      enabled: true,
      leaseName: 'gateway-upstream-operator',
      leaseDuration: 15_000,
      renewDeadline: 8000,
      retryPeriod: 2000,
    })
    .describe('One of several replicas writes; the others stand by with everything listed.'),
  permissionCheckInterval: duration('1s')
    .default(30_000)
    .describe('Between two reviews of what the operator is permitted to do.'),
  roleName: z
    .string()
    .regex(
      /^[a-z0-9]([-a-z0-9.]{0,200}[a-z0-9])?$/,
      'must be the name of a ClusterRole: lower case letters, digits, "-" and ".", for example gateway-upstream-operator',
    )
    .default('gateway-upstream-operator')
    .describe("Name of the operator's ClusterRole and Roles, for messages about rights that are missing."),
  statusConcurrency: z.int().min(1).max(64).default(8).describe('Status writes under way at once.'),
  ops: section({
    host: z
      .string()
      .regex(
        /^([a-zA-Z0-9_]([a-zA-Z0-9_.-]*[a-zA-Z0-9_])?|[0-9a-fA-F:.]*:[0-9a-fA-F:.]*)$/,
        'must be an IP address or a host name, without scheme, port and brackets, for example 0.0.0.0',
      )
      .optional()
      .describe(
        'Address to listen on. Default: 0.0.0.0 in a Pod, where the kubelet and Prometheus connect; elsewhere 127.0.0.1.',
      ),
    port: port.default(8080).describe('Port to listen on; 0: any that is free.'),
    debugState: z
      .boolean()
      .default(false)
      .describe('Whether /debug/state tells whoever asks what is desired and observed.'),
  })
    .default({ port: 8080, debugState: false })
    .describe('Where /livez, /readyz and /metrics answer.'),
})
  .refine(
    ({ namespaces, secretNamespaces }) =>
      namespaces.length === 0 || secretNamespaces.every((name) => namespaces.includes(name)),
    {
      path: ['secretNamespaces'],
      error: 'must all be in namespaces as well: no other namespace is looked at',
    },
  )
  .refine(
    ({ leaderElection, requestTimeout }) =>
      !leaderElection.enabled || leaderElection.renewDeadline + requestTimeout < leaderElection.leaseDuration,
    {
      path: ['leaderElection', 'leaseDuration'],
      error:
        'must be longer than renewDeadline and requestTimeout together, so that a write begun at the last moment ends before another replica may begin',
    },
  )
  .refine(({ leaderElection: { retryPeriod, renewDeadline } }) => retryPeriod * 2 <= renewDeadline, {
    path: ['leaderElection', 'renewDeadline'],
    error: 'must be at least twice retryPeriod, so that one failed renewal costs nothing',
  });

type FileConfig = z.output<typeof configSchema>;

/** What the file says, completed with what the environment says. */
export type Config = Omit<FileConfig, 'operatorNamespace' | 'ops'> & {
  readonly operatorNamespace: string;
  readonly ops: FileConfig['ops'] & { readonly host: string };
};

/** What the user asked for is wrong; the message says what to write instead. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

/** Reads the file, or takes the defaults where there is none, and the environment. Throws `ConfigError`. */
export function readConfig(
  file: string | undefined,
  env: Readonly<Record<string, string | undefined>>,
): Config {
  const source = file ?? 'the defaults';
  const config = parseConfig(file === undefined ? {} : (readYaml(file) ?? {}), source);
  const operatorNamespace = config.operatorNamespace ?? env['POD_NAMESPACE'];
  if (operatorNamespace === undefined || operatorNamespace === '') {
    throw new ConfigError(
      `${source}: operatorNamespace is not set and neither is POD_NAMESPACE: name the namespace with the Secrets of the connections`,
    );
  }
  const ops = { ...config.ops, host: config.ops.host ?? defaultOpsHost(env) };
  return { ...config, operatorNamespace, ops };
}

/** Kubernetes sets KUBERNETES_SERVICE_HOST in every Pod. A program elsewhere must not offer its metrics to the network. */
function defaultOpsHost(env: Readonly<Record<string, string | undefined>>): string {
  return (env['KUBERNETES_SERVICE_HOST'] ?? '') === '' ? '127.0.0.1' : '0.0.0.0';
}

/** Checks what was read from `source`. Throws `ConfigError` with one line for each wrong key. */
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
  string: 'text',
  number: 'a number without quotes',
  int: 'a whole number',
  boolean: 'true or false, without quotes',
};

/** What to write, for the issues whose schema does not say it itself. */
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

/** The parser's words: of a wrong spelling with its place, on several lines; of aliases that expand to too much on one. */
function yamlProblem(error: unknown): string {
  if (error instanceof YAMLParseError && error.code === 'RESOURCE_EXHAUSTION')
    return 'it is nested too deeply';
  return error instanceof Error ? error.message : String(error);
}
