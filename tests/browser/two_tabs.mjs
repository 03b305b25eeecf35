// The page opened twice: `two_tabs.mjs URL`.

import assert from "node:assert/strict";

import { DESKTOP, open, run } from "./browser.mjs";
import { expectNone } from "./complaints.mjs";
import { arrived, counted, expectAnswer, fill, people, push } from "./visitor.mjs";

const FIRST = ["user1", "user2", "user3", "user4", "user5", "user6"];
const SECOND = ["user7", "user8", "user9", "user10", "user11", "user12"];

await run(async (browser, url) => {
  const first = await open(browser, url, DESKTOP);
  await fill(first.page);
  const second = await open(browser, url, DESKTOP);
  await counted(second.page, 6);
  await fill(second.page);
  for (const { page } of [first, second]) await counted(page, 12);

  await expectPeople(first.page, FIRST, SECOND);
  await expectPeople(second.page, SECOND, FIRST);
  for (const { page } of [first, second])
    assert.equal(await page.locator("#join-name").inputValue(), "user13");

  expectAnswer(await push(second.page, "everyone", "", "to both"), 3, 12);
  for (const [{ page }, names] of [
    [first, FIRST],
    [second, SECOND],
  ]) {
    await arrived(page, Object.fromEntries(names.map((name) => [name, 1])));
  }
  await second.page.context().close();
  await counted(first.page, 6);
  await expectPeople(first.page, FIRST, []);
  expectNone([...first.complaints, ...second.complaints]);
});

/** Who is of this page, and who is shown as being from elsewhere. */
async function expectPeople(page, own, others) {
  assert.deepEqual(
    (await people(page)).map(({ name }) => name),
    own,
  );
  const shown = await page.locator(".person.other .name").allTextContents();
  assert.deepEqual(shown.sort(), [...others].sort());
}
