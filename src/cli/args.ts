import { parseArgs } from 'node:util';
import { OPERATOR } from '../api/group.ts';
import { durationMs, durationString } from '../api/schema.ts';
import {
  type Config,
  ConfigError,
  clusterIdName,
  leaseName,
  namespaceName,
  readConfig,
} from '../config/config.ts';
import type { OutOfCluster } from './install/access.ts';
import type { ManifestOptions } from './install/manifests.ts';
import type { PlanOptions } from './plan/plan.ts';
import type { PlanOutput } from './plan/render.ts';
import type { UninstallOptions } from './uninstall/uninstall.ts';

/** Where `install` puts the operator unless told otherwise, and `uninstall` and `check` look for it. */
export const DEFAULT_NAMESPACE = 'gateway-upstream-system';

export const USAGE = `gateway-upstream-operator COMMAND

Keeps the upstream objects of API gateways equal to what runs in a Kubernetes cluster.

  run                    reconcile until SIGTERM
    --config FILE          YAML configuration
  install                apply CRDs, namespace, ServiceAccount, roles and bindings; again at will
    --namespace NS         the operator's own (default ${DEFAULT_NAMESPACE})
    --namespaces A,B       rights in these namespaces only, instead of the whole cluster
    --secret-namespaces A  namespaces whose GatewayUpstreams may refer to Secrets: rights to read them there
    --watch-nodes          also the right to watch nodes, for watchNodes in the configuration
    --read-endpoints       also the right to read Endpoints, for readEndpoints in the configuration
    --crds-only            the CRDs and nothing else
    --kubeconfig FILE      of somebody who may do this
    --out-of-cluster       also write a kubeconfig for an operator that runs somewhere else
      --output FILE          where to (default gateway-upstream-operator.kubeconfig)
      --force                also over a file that this command did not write
      --token-duration 24h   how long its token is to be good for, at least 10m
      --long-lived           a token that never expires, from a Secret
  print                  the same objects as YAML, without touching a cluster
    --namespace, --namespaces, --secret-namespaces, --watch-nodes, --read-endpoints, --crds-only
  uninstall              take away what install applied; exit code 3: change something first
    --namespace NS, --kubeconfig FILE
    --namespaces A,B       leave GatewayUpstreams of other namespaces to the operator that follows them
    --finalizers refuse    do nothing while there are GatewayUpstreams (default)
                 orphan    leave their upstreams in the gateways, marked so
                 delete    delete them, and their upstreams in the gateways
    --keep-crds            leave the CRDs, and with them the objects
    --keep-rbac            leave ServiceAccount, roles and bindings
    --lease-name NAME      of the operator's Lease (default gateway-upstream-operator)
    --keep-lease           leave the Lease, so that no operator leads for half a minute
    --timeout 5m           how long to wait for the operator
  check                  permissions, CRDs and gateways, each with its remedy; exit code 1 if one fails
    --config FILE, --namespace NS, --kubeconfig FILE
    -o text|json           how to say it
  plan                   what run would write, and why; exit code 0: nothing, 2: something, 1: it cannot be told
    --config FILE, --namespace NS, --kubeconfig FILE
    -f FILE                YAML or JSON instead of a cluster, again at will; -: standard input
    --gateway-state FILE   what the gateways list, instead of asking them
    --cluster-id ID        clusterId of the configuration
    --only NS[/NAME]       tell of these GatewayUpstreams only, again at will
    --from-apisix          instead: the GatewayUpstreams that would take over what the gateways hold, as YAML to judge
      --into NS              in this namespace, instead of that of each Service
    -o text|json|yaml      how to say it
    --color auto|always|never
  --help                 this text
  --version              the version of this program
`;

export type Command =
  | { readonly kind: 'help' }
  | { readonly kind: 'version' }
  | { readonly kind: 'run'; readonly config: Config }
  | { readonly kind: 'print'; readonly manifest: ManifestOptions }
  | {
      readonly kind: 'install';
      readonly manifest: ManifestOptions;
      readonly kubeconfig: string | undefined;
      readonly outOfCluster: OutOfCluster | undefined;
    }
  | {
      readonly kind: 'uninstall';
      readonly options: UninstallOptions;
      readonly kubeconfig: string | undefined;
    }
  | { readonly kind: 'check'; readonly config: Config; readonly output: 'text' | 'json' }
  | {
      readonly kind: 'plan';
      readonly options: PlanOptions;
      /** What would take over the upstreams that nobody owns, instead of a plan. */
      readonly takeOver: { readonly into: string | undefined } | undefined;
      readonly kubeconfig: string | undefined;
      readonly output: PlanOutput;
      readonly color: 'auto' | 'always' | 'never';
    };

type Environment = Readonly<Record<string, string | undefined>>;

/** Kubernetes refuses to make a token that lives shorter. */
const LEAST_TOKEN_MS = 600_000;
const OUTPUT = 'gateway-upstream-operator.kubeconfig';

const text = { type: 'string' } as const;
const flag = { type: 'boolean' } as const;

/** What commands take that look at a cluster as the operator would. */
const LOOKING = { config: text, namespace: text, kubeconfig: text };
const output = { type: 'string', short: 'o' } as const;
const MANIFEST = {
  namespace: text,
  namespaces: text,
  'secret-namespaces': text,
  'watch-nodes': flag,
  'read-endpoints': flag,
  'crds-only': flag,
};

const COMMANDS: Readonly<Record<string, (args: string[], env: Environment) => Command>> = {
  run(args, env) {
    const { config } = flags(args, { config: text });
    return { kind: 'run', config: readConfig(config, env) };
  },

  print(args) {
    return { kind: 'print', manifest: manifestOptions(flags(args, MANIFEST)) };
  },

  install(args) {
    const values = flags(args, {
      ...MANIFEST,
      kubeconfig: text,
      'out-of-cluster': flag,
      output: text,
      force: flag,
      'token-duration': text,
      'long-lived': flag,
    });
    const manifest = manifestOptions(values);
    return { kind: 'install', manifest, kubeconfig: values.kubeconfig, outOfCluster: outOfCluster(values) };
  },

  uninstall(args) {
    const values = flags(args, {
      namespace: text,
      kubeconfig: text,
      namespaces: text,
      finalizers: text,
      'keep-crds': flag,
      'keep-rbac': flag,
      'lease-name': text,
      'keep-lease': flag,
      timeout: text,
    });
    return {
      kind: 'uninstall',
      kubeconfig: values.kubeconfig,
      options: {
        namespace: namespaceOf('--namespace', values.namespace) ?? DEFAULT_NAMESPACE,
        namespaces: namespacesOf('--namespaces', values.namespaces),
        finalizers: oneOf('--finalizers', values.finalizers ?? 'refuse', ['refuse', 'orphan', 'delete']),
        keepCrds: values['keep-crds'] ?? false,
        keepRbac: values['keep-rbac'] ?? false,
        leaseName: leaseNameOf(values['lease-name']),
        keepLease: values['keep-lease'] ?? false,
        timeoutMs: duration('--timeout', values.timeout ?? '5m'),
      },
    };
  },

  check(args, env) {
    const values = flags(args, { ...LOOKING, output });
    return {
      kind: 'check',
      output: oneOf('--output', values.output ?? 'text', ['text', 'json']),
      config: configOf(values, env),
    };
  },

  plan(args, env) {
    const values = flags(args, {
      ...LOOKING,
      output,
      file: { type: 'string', short: 'f', multiple: true },
      'gateway-state': text,
      'cluster-id': text,
      only: { type: 'string', multiple: true },
      'from-apisix': flag,
      into: text,
      color: text,
    });
    const files = values.file ?? [];
    if (files.length > 0 && values.kubeconfig !== undefined) {
      throw misused('--kubeconfig is a cluster, and --file is instead of one: give one of them');
    }
    if (files.filter((file) => file === '-').length > 1) throw misused('--file -: standard input ends once');
    for (const only of values.only ?? []) {
      if (!/^[^/]+(\/[^/]+)?$/.test(only))
        throw misused(`--only must be NAMESPACE or NAMESPACE/NAME, not "${only}"`);
    }
    const config = configOf(values, env);
    return {
      kind: 'plan',
      takeOver: takeOverOf(values),
      output: oneOf('--output', values.output ?? 'text', ['text', 'json', 'yaml']),
      color: oneOf('--color', values.color ?? 'auto', ['auto', 'always', 'never']),
      kubeconfig: config.kubeconfig,
      options: {
        files,
        gatewayState: values['gateway-state'],
        only: values.only ?? [],
        clusterId: clusterIdOf(values['cluster-id']) ?? config.clusterId,
        operatorNamespace: config.operatorNamespace,
        namespaces: config.namespaces,
        secretNamespaces: config.secretNamespaces,
        watchNodes: config.watchNodes,
        readEndpoints: config.readEndpoints,
        requestTimeoutMs: config.requestTimeout,
      },
    };
  },
};

/** Reads the command line, the file that it names and the environment. Throws `ConfigError`. */
export function readCommand(argv: readonly string[], env: Environment): Command {
  if (argv.includes('--help') || argv.includes('-h')) return { kind: 'help' };
  if (argv.length === 1 && argv[0] === '--version') return { kind: 'version' };
  const [name = 'nothing', ...args] = argv;
  const read = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined;
  if (read === undefined)
    throw misused(`expected a command (${Object.keys(COMMANDS).join(', ')}), got ${name}`);
  return read(args, env);
}

type Flags = Readonly<
  Record<
    string,
    { readonly type: 'string' | 'boolean'; readonly short?: string; readonly multiple?: boolean }
  >
>;

function flags<const T extends Flags>(args: string[], options: T) {
  try {
    const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
    for (const [name, value] of Object.entries(values)) {
      if ([value].flat().includes('')) throw new Error(`--${name} is empty`);
    }
    return values;
  } catch (error) {
    throw misused(error instanceof Error ? error.message : String(error));
  }
}

function misused(problem: string): ConfigError {
  return new ConfigError(`${problem}\n\n${USAGE}`);
}

/** The configuration of an operator that lives where the flags say. */
function configOf(
  values: { readonly config?: string; readonly namespace?: string; readonly kubeconfig?: string },
  env: Environment,
): Config {
  const namespace = namespaceOf('--namespace', values.namespace);
  const config = readConfig(values.config, {
    ...env,
    POD_NAMESPACE: namespace ?? env['POD_NAMESPACE'] ?? DEFAULT_NAMESPACE,
  });
  return {
    ...config,
    ...(namespace === undefined ? {} : { operatorNamespace: namespace }),
    ...(values.kubeconfig === undefined ? {} : { kubeconfig: values.kubeconfig }),
  };
}

function takeOverOf(values: {
  readonly 'from-apisix'?: boolean;
  readonly into?: string;
  readonly only?: readonly string[];
  readonly output?: string;
}): { readonly into: string | undefined } | undefined {
  if (values['from-apisix'] !== true) {
    if (values.into !== undefined) throw misused('--into makes sense only together with --from-apisix');
    return undefined;
  }
  if (values.only !== undefined || values.output !== undefined) {
    throw misused('--from-apisix prints YAML of everything that nobody owns: remove --only and --output');
  }
  return { into: namespaceOf('--into', values.into) };
}

function clusterIdOf(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const result = clusterIdName.safeParse(value);
  if (!result.success) throw misused(`--cluster-id ${result.error.issues[0]?.message ?? 'is no id'}`);
  return value;
}

function manifestOptions(values: {
  readonly namespace?: string;
  readonly namespaces?: string;
  readonly 'secret-namespaces'?: string;
  readonly 'watch-nodes'?: boolean;
  readonly 'read-endpoints'?: boolean;
  readonly 'crds-only'?: boolean;
}): ManifestOptions {
  const namespaces = namespacesOf('--namespaces', values.namespaces);
  const secretNamespaces = namespacesOf('--secret-namespaces', values['secret-namespaces']);
  const stray = secretNamespaces.find((name) => namespaces.length > 0 && !namespaces.includes(name));
  if (stray !== undefined) {
    throw misused(
      `--secret-namespaces "${stray}" is not one of --namespaces: no other namespace is looked at`,
    );
  }
  return {
    namespace: namespaceOf('--namespace', values.namespace) ?? DEFAULT_NAMESPACE,
    namespaces,
    secretNamespaces,
    crdsOnly: values['crds-only'] ?? false,
    ...(values['watch-nodes'] === true ? { watchNodes: true } : {}),
    ...(values['read-endpoints'] === true ? { readEndpoints: true } : {}),
  };
}

/** Each name of a list with commas, once. */
function namespacesOf(flagName: string, value: string | undefined): readonly string[] {
  const names = (value?.split(',') ?? []).map((name) => name.trim());
  for (const name of names) namespaceOf(flagName, name);
  return [...new Set(names)];
}

function outOfCluster(values: {
  readonly 'crds-only'?: boolean;
  readonly 'out-of-cluster'?: boolean;
  readonly 'long-lived'?: boolean;
  readonly 'token-duration'?: string;
  readonly output?: string;
  readonly force?: boolean;
}): OutOfCluster | undefined {
  const longLived = values['long-lived'] ?? false;
  const tokenDuration = values['token-duration'];
  if (values['out-of-cluster'] !== true) {
    for (const name of ['long-lived', 'token-duration', 'output', 'force'] as const) {
      if (values[name] !== undefined)
        throw misused(`--${name} makes sense only together with --out-of-cluster`);
    }
    return undefined;
  }
  if (values['crds-only'] === true) {
    throw misused('--out-of-cluster needs the ServiceAccount that --crds-only leaves out: give one of them');
  }
  if (longLived && tokenDuration !== undefined) {
    throw misused('--long-lived makes a token that never expires: remove it, or --token-duration');
  }
  const durationMs = duration('--token-duration', tokenDuration ?? '24h');
  if (durationMs < LEAST_TOKEN_MS) {
    throw misused(`--token-duration ${tokenDuration} is too short: Kubernetes makes no token under 10m`);
  }
  return {
    output: values.output ?? OUTPUT,
    overwrite: values.force ?? false,
    token: longLived ? { kind: 'longLived' } : { kind: 'expiring', durationMs },
  };
}

function namespaceOf(flagName: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const result = namespaceName.safeParse(value);
  if (!result.success) {
    throw misused(`${flagName} "${value}" ${result.error.issues[0]?.message ?? 'is no namespace'}`);
  }
  return value;
}

function leaseNameOf(value = OPERATOR): string {
  const result = leaseName.safeParse(value);
  if (!result.success)
    throw misused(`--lease-name "${value}" ${result.error.issues[0]?.message ?? 'is invalid'}`);
  return value;
}

function oneOf<const T extends string>(flagName: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined) throw misused(`${flagName} must be one of ${allowed.join(', ')}, not "${value}"`);
  return found;
}

function duration(flagName: string, value: string): number {
  const result = durationString.safeParse(value);
  if (!result.success) {
    throw misused(`${flagName} "${value}" ${result.error.issues[0]?.message ?? 'is no duration'}`);
  }
  const ms = durationMs(value);
  if (ms === 0) throw misused(`${flagName} must be more than 0`);
  return ms;
}
