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
import {
  COMMANDS,
  type CommandName,
  DEFAULT_KUBECONFIG_OUTPUT,
  DEFAULT_NAMESPACE,
  type Flags,
} from './commands.ts';
import { helpOf } from './help.ts';
import type { OutOfCluster } from './install/access.ts';
import type { ManifestOptions } from './install/manifests.ts';
import type { PlanOptions } from './plan/plan.ts';
import type { PlanOutput } from './plan/render.ts';
import type { UninstallOptions } from './uninstall/uninstall.ts';

export type Command =
  | { readonly kind: 'help'; readonly text: string }
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
      /** Print GatewayUpstreams that take over the upstreams without an owner, instead of a plan. */
      readonly takeOver: TakeOverFlags | undefined;
      readonly kubeconfig: string | undefined;
      readonly output: PlanOutput;
      readonly color: 'auto' | 'always' | 'never';
    };

interface TakeOverFlags {
  readonly into: string | undefined;
  /** ServiceRegistries to use where several fit. */
  readonly registries: readonly string[];
}

type Environment = Readonly<Record<string, string | undefined>>;

/** Kubernetes rejects a shorter lifetime. */
const MIN_TOKEN_MS = 600_000;

const READERS: Readonly<Record<CommandName, (args: string[], env: Environment) => Command>> = {
  run(args, env) {
    const { config } = flags(args, COMMANDS.run.flags);
    return { kind: 'run', config: readConfig(config, env) };
  },

  print(args) {
    return { kind: 'print', manifest: manifestOptions(flags(args, COMMANDS.print.flags)) };
  },

  install(args) {
    const values = flags(args, COMMANDS.install.flags);
    const manifest = manifestOptions(values);
    return { kind: 'install', manifest, kubeconfig: values.kubeconfig, outOfCluster: outOfCluster(values) };
  },

  uninstall(args) {
    const values = flags(args, COMMANDS.uninstall.flags);
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
    const values = flags(args, COMMANDS.check.flags);
    return {
      kind: 'check',
      output: oneOf('--output', values.output ?? 'text', ['text', 'json']),
      config: configOf(values, env),
    };
  },

  plan(args, env) {
    const values = flags(args, COMMANDS.plan.flags);
    const files = values.file ?? [];
    if (files.length > 0 && values.kubeconfig !== undefined) {
      throw new UsageError('--file replaces the cluster of --kubeconfig: remove one of them');
    }
    if (files.filter((file) => file === '-').length > 1)
      throw new UsageError('--file - must be given once: standard input can be read only once');
    for (const only of values.only ?? []) {
      if (!/^[^/]+(\/[^/]+)?$/.test(only))
        throw new UsageError(`--only must be NAMESPACE or NAMESPACE/NAME, not "${only}"`);
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
        registryState: values['registry-state'],
        usesRegistries: values['from-apisix'] !== true,
        only: values.only ?? [],
        clusterId: clusterIdOf(values['cluster-id']) ?? config.clusterId,
        operatorNamespace: config.operatorNamespace,
        namespaces: config.namespaces,
        secretNamespaces: config.secretNamespaces,
        watchNodes: config.watchNodes,
        watchRegistries: config.watchRegistries,
        readEndpoints: config.readEndpoints,
        requestTimeoutMs: config.requestTimeout,
      },
    };
  },
};

/** Reads the command line, the configuration file and the environment. Throws `ConfigError`. */
export function readCommand(argv: readonly string[], env: Environment): Command {
  const [first, ...args] = argv;
  const name = first !== undefined && isCommandName(first) ? first : undefined;
  if (argv.includes('--help') || argv.includes('-h')) return { kind: 'help', text: helpOf(name) };
  if (argv.length === 1 && first === '--version') return { kind: 'version' };
  if (name === undefined) {
    const problem = first === undefined ? 'no command given' : `unknown command "${first}"`;
    throw misused(`${problem}: expected one of ${Object.keys(COMMANDS).join(', ')}`, OPERATOR);
  }
  try {
    return READERS[name](args, env);
  } catch (error) {
    throw error instanceof UsageError ? misused(error.message, `${OPERATOR} ${name}`) : error;
  }
}

function isCommandName(name: string): name is CommandName {
  return Object.hasOwn(COMMANDS, name);
}

function flags<const T extends Flags>(args: string[], options: T) {
  try {
    const { values } = parseArgs({ args, options, strict: true, allowPositionals: false });
    for (const [name, value] of Object.entries(values)) {
      if ([value].flat().includes('')) throw new Error(`--${name} must not be empty`);
    }
    return values;
  } catch (error) {
    throw new UsageError(flagProblem(error));
  }
}

/** Without the advice about `--` of Node.js: no command accepts positional arguments. */
function flagProblem(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.replace(/\. To specify a positional argument.*$/s, '');
}

/** A command line that its command cannot carry out; the message says what is wrong. */
class UsageError extends Error {
  override readonly name = 'UsageError';
}

function misused(problem: string, command: string): ConfigError {
  return new ConfigError(`${problem}\n\nRun "${command} --help" for usage.`);
}

/** The configuration, with the values of the flags in place of its own. */
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
  readonly 'registry-state'?: string;
  readonly into?: string;
  readonly only?: readonly string[];
  readonly output?: string;
  readonly registry?: readonly string[];
}): TakeOverFlags | undefined {
  if (values['from-apisix'] !== true) {
    for (const name of ['into', 'registry'] as const) {
      if (values[name] !== undefined) throw new UsageError(`--${name} requires --from-apisix`);
    }
    return undefined;
  }
  if (values['registry-state'] !== undefined) {
    throw new UsageError('--from-apisix does not read services of registries: remove --registry-state');
  }
  if (values.only !== undefined || values.output !== undefined) {
    throw new UsageError(
      '--from-apisix prints every upstream without an owner as YAML: remove --only and --output',
    );
  }
  return { into: namespaceOf('--into', values.into), registries: values.registry ?? [] };
}

function clusterIdOf(value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const result = clusterIdName.safeParse(value);
  if (!result.success)
    throw new UsageError(`--cluster-id ${result.error.issues[0]?.message ?? 'is invalid'}`);
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
    throw new UsageError(
      `--secret-namespaces "${stray}" is missing from --namespaces: add it there, because the operator watches no other namespace`,
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

/** The names of a comma-separated list, without duplicates. */
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
      if (values[name] !== undefined) throw new UsageError(`--${name} requires --out-of-cluster`);
    }
    return undefined;
  }
  if (values['crds-only'] === true) {
    throw new UsageError(
      '--out-of-cluster needs the ServiceAccount, which --crds-only does not install: remove one of them',
    );
  }
  if (longLived && tokenDuration !== undefined) {
    throw new UsageError('--long-lived creates a token that never expires: remove it or --token-duration');
  }
  const durationMs = duration('--token-duration', tokenDuration ?? '24h');
  if (durationMs < MIN_TOKEN_MS) {
    throw new UsageError(`--token-duration must be at least 10m, not ${tokenDuration}`);
  }
  return {
    output: values.output ?? DEFAULT_KUBECONFIG_OUTPUT,
    overwrite: values.force ?? false,
    token: longLived ? { kind: 'longLived' } : { kind: 'expiring', durationMs },
  };
}

function namespaceOf(flagName: string, value: string | undefined): string | undefined {
  if (value === undefined) return undefined;
  const result = namespaceName.safeParse(value);
  if (!result.success) {
    throw new UsageError(`${flagName} "${value}" ${result.error.issues[0]?.message ?? 'is invalid'}`);
  }
  return value;
}

function leaseNameOf(value = OPERATOR): string {
  const result = leaseName.safeParse(value);
  if (!result.success)
    throw new UsageError(`--lease-name "${value}" ${result.error.issues[0]?.message ?? 'is invalid'}`);
  return value;
}

function oneOf<const T extends string>(flagName: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((one) => one === value);
  if (found === undefined)
    throw new UsageError(`${flagName} must be one of ${allowed.join(', ')}, not "${value}"`);
  return found;
}

function duration(flagName: string, value: string): number {
  const result = durationString.safeParse(value);
  if (!result.success) {
    throw new UsageError(`${flagName} "${value}" ${result.error.issues[0]?.message ?? 'is invalid'}`);
  }
  const ms = durationMs(value);
  if (ms === 0) throw new UsageError(`${flagName} must be greater than 0`);
  return ms;
}
