import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCommand } from '../../../src/cli/args.ts';
import { type Config, ConfigError } from '../../../src/config/config.ts';

const dir = mkdtempSync(join(tmpdir(), 'config-'));
const file = join(dir, 'config.yaml');
afterAll(() => rmSync(dir, { recursive: true }));

const POD = { POD_NAMESPACE: 'gateways', KUBERNETES_SERVICE_HOST: '10.96.0.1' };

function read(yaml: string, env: Record<string, string> = POD): Config {
  writeFileSync(file, yaml);
  const command = readCommand(['run', '--config', file], env);
  if (command.kind !== 'run') throw new Error(command.kind);
  return command.config;
}

function configErrorOf(work: () => unknown): string {
  try {
    work();
  } catch (error) {
    if (error instanceof ConfigError) return error.message;
    throw error;
  }
  throw new Error('there was no ConfigError');
}

describe('the configuration', () => {
  it.each([
    ['an empty file', ''],
    ['a file with a comment only', '# comment\n'],
    ['an empty mapping', '{}'],
  ])('uses the defaults for %s', (_, yaml) => {
    const defaults = readCommand(['run'], POD);
    expect(defaults).toMatchObject({
      kind: 'run',
      config: {
        operatorNamespace: 'gateways',
        logLevel: 'info',
        resyncInterval: 600_000,
        ops: { port: 8080 },
      },
    });
    expect({ kind: 'run', config: read(yaml) }).toEqual(defaults);
  });

  it('accepts durations in the format of Kubernetes', () => {
    expect(read('resyncInterval: 1m30s\nrequestTimeout: 500ms')).toMatchObject({
      resyncInterval: 90_000,
      requestTimeout: 500,
    });
  });

  it.each(['6443', '"6443"', "'06443'"])('accepts port 6443 as %s', (port) => {
    expect(read(`ops: { port: ${port} }`).ops).toEqual({ host: '0.0.0.0', port: 6443, debugState: false });
  });

  it.each([
    ['0', 0],
    ['65535', 65_535],
    ['"0"', 0],
    ['"65535"', 65_535],
  ])('accepts port %s', (yaml, port) => {
    expect(read(`ops: { port: ${yaml} }`).ops.port).toBe(port);
  });

  it('listens on all addresses in a Pod and on the loopback address elsewhere', () => {
    const host = (yaml: string, env: Record<string, string>) => read(yaml, env).ops.host;
    const outside = { POD_NAMESPACE: 'gateways' };
    expect(host('', POD)).toBe('0.0.0.0');
    expect(host('', outside)).toBe('127.0.0.1');
    expect(host('ops: { port: 9000 }', outside)).toBe('127.0.0.1');
    expect(host('', { ...outside, KUBERNETES_SERVICE_HOST: '' })).toBe('127.0.0.1');
    expect(host('ops: { host: 0.0.0.0 }', outside)).toBe('0.0.0.0');
    expect(host('ops: { host: "::1" }', POD)).toBe('::1');
  });

  it('prefers operatorNamespace of the file to POD_NAMESPACE', () => {
    expect(read('operatorNamespace: other').operatorNamespace).toBe('other');
    expect(read('operatorNamespace: other', {}).operatorNamespace).toBe('other');
  });

  it.each<[string, string, readonly (string | RegExp)[]]>([
    ['an unknown key', 'resyncIntervall: 1m', ['resyncIntervall', 'expected', /\bresyncInterval\b/]],
    ['an unknown key in a section', 'ops: { prot: 1 }', ['ops', 'prot', 'expected one of host, port']],
    ['a port that is not a number', 'ops: { port: http }', ['ops.port', '0 to 65535']],
    ['a port that is too high', 'ops: { port: 65536 }', ['ops.port', '0 to 65535']],
    ['a string with a port that is too high', 'ops: { port: "65536" }', ['ops.port', '0 to 65535']],
    ['a negative port', 'ops: { port: -1 }', ['ops.port', '0 to 65535']],
    ['a fractional port', 'ops: { port: 80.5 }', ['ops.port', '0 to 65535']],
    ['a string with a signed port', 'ops: { port: "+80" }', ['ops.port', '0 to 65535']],
    ['a string for a number', 'statusConcurrency: "3"', ['statusConcurrency', 'number']],
    ['a number that is too low', 'statusConcurrency: 0', ['statusConcurrency', /\b1\b/]],
    ['an unknown enum value', 'logLevel: loud', ['logLevel', 'info', 'debug']],
    ['a number for a duration', 'resyncInterval: 10', ['resyncInterval', '30s']],
    ['a duration without unit', 'resyncInterval: "10"', ['resyncInterval', '30s']],
    ['a duration of 0', 'resyncInterval: 0s', ['resyncInterval', '24h']],
    ['a duration that is too long', 'resyncInterval: 1000h', ['resyncInterval', '24h']],
    ['a request timeout of 0', 'requestTimeout: 0s', ['requestTimeout', '100ms']],
    ['a number for a section', 'ops: 8080', ['ops', /mapping|object/]],
    ['an empty section', 'ops:', ['ops', /mapping|object/]],
    ['an invalid namespace name', 'operatorNamespace: A_b', ['operatorNamespace', 'lowercase']],
    ['a cluster id with a space', 'clusterId: a b', ['clusterId', '64']],
    ['a list at the top level', '- ops', ['(top level)', /mapping|object/]],
    ['a string at the top level', 'ops', ['(top level)', /mapping|object/]],
    [
      'a lease duration shorter than its deadlines',
      'leaderElection: { leaseDuration: 9s }',
      ['leaderElection.leaseDuration', 'longer'],
    ],
  ])('rejects %s and names the key and the expected value', (_, yaml, parts) => {
    const message = configErrorOf(() => read(yaml));
    expect(message).toContain(file);
    for (const part of parts) {
      if (typeof part === 'string') expect(message).toContain(part);
      else expect(message).toMatch(part);
    }
  });

  it('reports all wrong keys at once', () => {
    const message = configErrorOf(() => read('logLevel: loud\nstatusConcurrency: 0\nops: { port: x }'));
    for (const key of ['logLevel', 'statusConcurrency', 'ops.port']) expect(message).toContain(`  ${key}: `);
  });

  it.each([
    ['an unclosed mapping', 'ops: {'],
    ['a duplicate key', 'logLevel: info\nlogLevel: warn'],
    ['several documents', 'logLevel: info\n---\nlogLevel: warn'],
    ['a tab as indentation', 'ops:\n\tport: 1'],
  ])('rejects %s as invalid YAML and names the line', (_, yaml) => {
    expect(configErrorOf(() => read(yaml))).toMatch(/^.*config\.yaml is not valid YAML: .*line \d+/s);
  });

  it('rejects a file with too many aliases with a one-line message', () => {
    const levels = [...'abcdefghi'].map((name, index, names) =>
      index === 0
        ? 'a: &a [x, x, x, x]'
        : `${name}: &${name} [${Array(9)
            .fill(`*${names[index - 1]}`)
            .join(', ')}]`,
    );
    expect(configErrorOf(() => read(levels.join('\n')))).toMatch(
      /^\S+config\.yaml is not valid YAML: Excessive alias count.*$/,
    );
  });

  it.each([500, 3000])('rejects a file with %d levels of nesting with a one-line message', (levels) => {
    const message = configErrorOf(() => read(`namespaces: ${'['.repeat(levels)}${']'.repeat(levels)}`));
    expect(message).toMatch(
      /^\S+config\.yaml is not valid(?: YAML: it is nested too deeply$|:\n {2}namespaces\.0: must be a string, not a list$)/,
    );
  });

  it.each([
    ['does not exist', join(dir, 'missing.yaml'), 'ENOENT'],
    ['is a directory', dir, 'EISDIR'],
  ])('rejects a file that %s and names its path', (_, path, why) => {
    const message = configErrorOf(() => readCommand(['run', '--config', path], POD));
    expect(message).toContain(path);
    expect(message).toContain(why);
  });

  it.each([
    ['missing', {}],
    ['empty', { POD_NAMESPACE: '' }],
  ])('requires a namespace when POD_NAMESPACE is %s', (_, env) => {
    const message = configErrorOf(() => readCommand(['run'], env));
    expect(message).toContain('operatorNamespace');
    expect(message).toContain('POD_NAMESPACE');
  });
});
