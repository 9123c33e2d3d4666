import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { parse, YAMLParseError } from 'yaml';
import { z } from 'zod';
import { durationMs, durationString } from './api/schema.ts';

const duration = durationString.transform(durationMs);

/** A number, or its digits as a string: people write ports both ways. */
const port = z.union([
  z.int().min(0).max(65535),
  z
    .string()
    .regex(/^[0-9]{1,5}$/)
    .transform(Number)
    .pipe(z.int().max(65535)),
]);

const schema = z.strictObject({
  kubeconfig: z
    .string()
    .min(1)
    .optional()
    .describe("Path of a kubeconfig. Default: KUBECONFIG, the user's own, or the Pod's ServiceAccount."),
  operatorNamespace: z
    .string()
    .regex(/^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/)
    .optional()
    .describe("The operator's own namespace, where the Secrets of connections are. Default: POD_NAMESPACE."),
  clusterId: z
    .string()
    .regex(/^\S{1,64}$/)
    .optional()
    .describe(
      'Names this cluster on gateways that several share. Default: the uid of namespace kube-system.',
    ),
  logLevel: z.enum(['trace', 'debug', 'info', 'warn', 'error']).default('info'),
  resyncInterval: duration
    .default(600_000)
    .describe('Between two comparisons of everything that a gateway holds.'),
  requestTimeout: duration.default(5000).describe('For one request to a gateway.'),
  statusConcurrency: z.int().min(1).max(64).default(8).describe('Status writes under way at once.'),
  ops: z
    .strictObject({ host: z.string().min(1).default('0.0.0.0'), port: port.default(8080) })
    .default({ host: '0.0.0.0', port: 8080 })
    .describe('Where /livez and /readyz answer.'),
});

export type Config = Omit<z.output<typeof schema>, 'operatorNamespace'> & {
  readonly operatorNamespace: string;
};

/** What the user asked for is wrong; the message says what to write instead. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
}

export const USAGE = `gateway-upstream-operator run [--config FILE]

Keeps the upstream objects of API gateways equal to what runs in a Kubernetes cluster.

  run              reconcile until SIGTERM
  --config FILE    YAML configuration
  --help           this text
`;

export type Command = { readonly kind: 'help' } | { readonly kind: 'run'; readonly config: Config };

/** Reads the command line, the file that it names and the environment. Throws `ConfigError`. */
export function readCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Command {
  let parsed: ReturnType<typeof parseCommandLine>;
  try {
    parsed = parseCommandLine(argv);
  } catch (error) {
    throw new ConfigError(`${error instanceof Error ? error.message : error}\n\n${USAGE}`);
  }
  const { values, positionals } = parsed;
  if (values.help === true) return { kind: 'help' };
  if (positionals.length !== 1 || positionals[0] !== 'run') {
    throw new ConfigError(`expected the command run\n\n${USAGE}`);
  }
  return { kind: 'run', config: readConfig(values.config, env) };
}

function parseCommandLine(argv: readonly string[]) {
  return parseArgs({
    args: [...argv],
    allowPositionals: true,
    options: { config: { type: 'string' }, help: { type: 'boolean', short: 'h' } },
  });
}

function readConfig(file: string | undefined, env: Readonly<Record<string, string | undefined>>): Config {
  const source = file ?? 'the defaults';
  const result = schema.safeParse(file === undefined ? {} : (readYaml(file) ?? {}));
  if (!result.success) {
    const lines = result.error.issues.map(
      ({ path, message }) => `  ${path.join('.') || '(top level)'}: ${message}`,
    );
    throw new ConfigError(`${source} is not valid:\n${lines.join('\n')}`);
  }
  const operatorNamespace = result.data.operatorNamespace ?? env['POD_NAMESPACE'];
  if (operatorNamespace === undefined || operatorNamespace === '') {
    throw new ConfigError(
      `${source}: operatorNamespace is not set and neither is POD_NAMESPACE: name the namespace with the Secrets of the connections`,
    );
  }
  return { ...result.data, operatorNamespace };
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
    if (error instanceof YAMLParseError) throw new ConfigError(`${file} is no YAML: ${error.message}`);
    throw error;
  }
}
