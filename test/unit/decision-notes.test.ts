import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from 'vitest';

const ROOT = fileURLToPath(new URL('../../', import.meta.url));
const FOLDER = 'docs/decisions';

const read = (path: string) => readFileSync(`${ROOT}${path}`, 'utf8');

const files = globSync('[0-9]*.md', { cwd: `${ROOT}${FOLDER}` }).toSorted();

const FORM =
  /^# (?<number>\d{4}): (?<title>\S.*)\n\n- Date: (?<date>20\d\d-[01]\d-[0-3]\d)\n- Status: (?<status>.+)\n\n## Context\n\n\S[\s\S]*\n## Decision\n\n\S[\s\S]*\n## Consequences\n\n\S[\s\S]*\n$/;

const LINK = String.raw`\[\d{4}\]\(\d{4}-[a-z0-9-]+\.md\)`;
const STATUS = new RegExp(
  `^(accepted|superseded by ${LINK}|accepted, partly superseded by ${LINK}(, ${LINK})*( and ${LINK})?)$`,
);

/** The parts of a note's head. Empty if the note does not have the form that the index describes. */
function headOf(file: string): Readonly<Record<string, string>> {
  return FORM.exec(read(`${FOLDER}/${file}`))?.groups ?? {};
}

function fileNameFor(number = '', title = ''): string {
  const words = title.toLowerCase().match(/[a-z0-9]+/g) ?? [];
  return `${[number, ...words].join('-')}.md`;
}

describe('decision notes', () => {
  it('exist', () => {
    expect(files.length).toBeGreaterThanOrEqual(36);
  });

  describe.each(files)('%s', (file) => {
    const { number, title, status = '' } = headOf(file);

    it('has a title, a date, a status, and the three sections in order', () => {
      expect(read(`${FOLDER}/${file}`)).toMatch(FORM);
      expect(read(`${FOLDER}/${file}`).match(/^## /gm)).toHaveLength(3);
      expect(status).toMatch(STATUS);
    });

    it('is named after its number and title', () => {
      expect(file).toBe(fileNameFor(number, title));
    });

    it('is superseded only by later notes', () => {
      const successors = [...status.matchAll(/\[(\d{4})\]/g)].map(([, successor]) => Number(successor));
      expect(successors.filter((successor) => successor <= Number(number))).toEqual([]);
    });
  });

  it('have numbers of their own', () => {
    const numbers = files.map((file) => file.slice(0, 4));
    expect(numbers).toEqual([...new Set(numbers)]);
  });

  it('are listed in the index with title, date and status', () => {
    const rows = files.map((file) => {
      const { number, title, date, status } = headOf(file);
      return `| ${number} | [${title}](${file}) | ${date} | ${status} |`;
    });
    const table = read(`${FOLDER}/README.md`).match(/^\| \d.*$/gm);
    expect(table).toEqual(rows);
  });

  it('leave no gap in the numbers that the index does not explain', () => {
    const explained = /^Numbers ([\d, and]+) were never used\./m.exec(read(`${FOLDER}/README.md`))?.[1] ?? '';
    const used = new Set(files.map((file) => Number(file.slice(0, 4))));
    const missing = Array.from({ length: Math.max(...used) }, (_, index) => index + 1)
      .filter((number) => !used.has(number))
      .map((number) => String(number).padStart(4, '0'));
    expect(explained.match(/\d{4}/g)).toEqual(missing);
  });

  it('exist wherever the project links to one', () => {
    const sources = globSync(['{src,test,docs,bench,chaos,demo,charts}/**/*.{ts,md,yaml,tpl}', '*.{md,ts}'], {
      cwd: ROOT,
    });
    const links = sources.flatMap((source) =>
      [...read(source).matchAll(/decisions\/(\d{4}-[a-z0-9-]+\.md)/g)].map(([, target = '']) => ({
        source,
        target,
      })),
    );
    expect(links.length).toBeGreaterThan(5);
    expect(links.filter(({ target }) => !files.includes(target))).toEqual([]);
  });

  it('link to each other by number and file name', () => {
    const links = files.flatMap((file) =>
      [...read(`${FOLDER}/${file}`).matchAll(/\[(\d{4})\]\((\d{4}-[^)]+)\)/g)].map(
        ([, number = '', target = '']) => ({ file, number, target }),
      ),
    );
    expect(links.length).toBeGreaterThan(5);
    expect(
      links.filter(({ number, target }) => !target.startsWith(number) || !files.includes(target)),
    ).toEqual([]);
  });
});
