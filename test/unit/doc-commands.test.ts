import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';

const ROOT = new URL('../../', import.meta.url);
const CHART = 'charts/gateway-upstream-operator';
const read = (path: string) => readFileSync(new URL(path, ROOT), 'utf8');
const PAGES = [
  'README.md',
  ...readdirSync(new URL('docs/', ROOT))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
  `${CHART}/README.md`,
];

interface Command {
  readonly page: string;
  readonly text: string;
}

/** Every command in a shell example, one per line, and every `kubectl exec` in the text. */
const commands: readonly Command[] = PAGES.flatMap((page) => {
  const content = read(page);
  const blocks = [...content.matchAll(/^```sh\n(.*?)^```$/gms)].flatMap(([, script = '']) =>
    script.replaceAll(/\\\n\s*/g, '').split('\n'),
  );
  const inline = [...content.matchAll(/`(kubectl [^`]*\bexec\b[^`]*)`/g)].map(([, text = '']) => text);
  return [...blocks, ...inline].map((text) => ({ page, text }));
});
const starting = (pattern: RegExp) => commands.filter(({ text }) => pattern.test(text));

describe('commands of the documentation', () => {
  it('pass the namespace of the release to every Helm command that needs it', () => {
    const helm = starting(/\bhelm (install|upgrade|rollback|uninstall|history|status|get)\b/);
    expect(helm.length).toBeGreaterThanOrEqual(5);
    expect(helm.filter(({ text }) => !/ (-n|--namespace)[ =]\S/.test(text))).toEqual([]);
  });

  it('run in the Pod of the operator only programs on the PATH of the image', () => {
    const executed = starting(/\bkubectl\b.*\bexec\b/);
    expect(executed.length).toBeGreaterThanOrEqual(2);
    const programs = new Set(
      executed.map(({ text }) => /\bexec\b.* -- (\S+)/.exec(text)?.[1] ?? `nothing: ${text}`),
    );
    // test/integration/image.test.ts runs it from there.
    expect([...programs]).toEqual(['gateway-upstream-operator']);
  });

  it('pass every build argument of the Dockerfile when they build the image', () => {
    const built = starting(/\bdocker (buildx )?build\b/);
    expect(built.length).toBeGreaterThanOrEqual(2);
    const wanted = [...read('Dockerfile').matchAll(/^ARG (\w+)/gm)].map(([, name = '']) => name);
    expect(wanted).toEqual(['VERSION', 'REVISION']);
    for (const argument of wanted) {
      expect(built.filter(({ text }) => !text.includes(`--build-arg ${argument}=`))).toEqual([]);
    }
  });

  it('run only npm scripts that exist', () => {
    const { scripts } = JSON.parse(read('package.json')) as {
      readonly scripts: Readonly<Record<string, string>>;
    };
    const named = [...PAGES, 'CONTRIBUTING.md'].flatMap((page) =>
      [...read(page).matchAll(/\bnpm (test|run (?:--silent )?([\w:-]+))/g)].map(
        ([, all = '', script = all]) => ({
          page,
          script,
        }),
      ),
    );
    expect(named.map(({ script }) => script)).toEqual(expect.arrayContaining(['test', 'test:all', 'demo']));
    expect(named.filter(({ script }) => scripts[script] === undefined)).toEqual([]);
  });

  it.each(PAGES)('of %s name the test that runs them, or why none does', (page) => {
    const content = read(page);
    const runner = /^<!-- Each command is run by (\S+\.ts)[.,].*-->$/m.exec(content)?.[1];
    const marks = [...content.matchAll(/^(?:<!-- (.*) -->\n\n)?```sh$/gm)].map(([, mark]) => mark);
    const runners = marks.map((mark) => /^Run by (\S+)\./.exec(mark ?? '')?.[1]);
    const isMarked = (mark: string | undefined, index: number) =>
      runners[index] !== undefined || /^Not run by a test: \S/.test(mark ?? '') || runner !== undefined;
    expect(marks.every(isMarked), `a comment before each block: ${marks.join(' | ')}`).toBe(true);
    for (const path of [runner, ...runners].filter((one) => one !== undefined)) {
      const text = read(path);
      if (path !== '.ci/run') expect(text, `${path} names ${page}`).toContain(page.replace('docs/', ''));
    }
  });

  it('install the dependencies before they build from a checkout', () => {
    const builds = PAGES.filter((page) => read(page).includes('npm run build'));
    expect(builds).toContain('docs/install.md');
    expect(builds.filter((page) => !/npm ci && npm run build/.test(read(page)))).toEqual([]);
  });
});

describe('docs/zero-downtime.md', () => {
  it('is linked from the README and from the concepts', () => {
    expect(read('README.md')).toContain('(docs/zero-downtime.md)');
    expect(read('docs/concepts.md')).toContain('(zero-downtime.md)');
  });
});
