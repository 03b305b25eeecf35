// Puts the page together: what the server tells goes to the parts that show it.

import { Charts } from "./charts.js";
import { showCommands } from "./commands.js";
import { Feed } from "./feed.js";
import { Fleet } from "./fleet.js";
import { Flights } from "./flights.js";
import { JoinForm } from "./join_form.js";
import { setText } from "./keyed.js";
import { Messages } from "./messages.js";
import { People } from "./people.js";
import { PersonDialog } from "./person_dialog.js";
import { Pulse } from "./pulse.js";
import { PushForm } from "./push_form.js";
import { Sampling } from "./sampling.js";
import { Stage } from "./stage.js";

const byId = (id) => document.getElementById(id);

const feed = new Feed("/page/feed");
const fleet = new Fleet();
const people = new People(
  fleet,
  () => flights.delay(),
  () => feed.isLive,
);
const dialog = new PersonDialog(people);
const joinForm = new JoinForm(fleet, people);
const stage = new Stage(fleet, people, {
  add: (nodeId) => joinForm.addTo(nodeId),
  open: (person) => dialog.open(person),
});
const flights = new Flights(byId("flights"), stage);
const charts = new Charts(byId("charts"));
const messages = new Messages();
const sampling = new Sampling();
new PushForm(fleet, people);
new Pulse(fleet, people, () => feed.isLive);

people.addEventListener("changed", () => {
  stage.refresh();
  joinForm.refresh();
  dialog.refresh();
});
people.addEventListener("arrived", () => {
  stage.refresh();
  dialog.refresh();
});

people.addEventListener("back", ({ detail }) => messages.moved(detail));

feed.addEventListener("fleet", ({ detail }) => {
  const isAnother = fleet.manager !== null && fleet.manager.id !== detail.manager.id;
  fleet.take(detail);
  if (isAnother) startAnew();
  people.hurryStranded();
  stage.refresh();
  joinForm.refresh();
  showCommands(fleet);
});
feed.addEventListener("figures", ({ detail }) => {
  charts.add(detail);
  fleet.look();
  stage.refresh();
});
feed.addEventListener("push", ({ detail }) => {
  messages.add(detail);
  if (!flights.start(detail)) sampling.skip(1);
});
feed.addEventListener("ack", ({ detail }) => {
  flights.ack(detail);
  messages.ack(detail);
});
feed.addEventListener("skipped", ({ detail }) => {
  sampling.skip(detail.pushes);
  messages.skip(detail.pushes);
});
feed.addEventListener("live", () => {
  showServer("live", "live");
  people.hurry();
});
feed.addEventListener("lost", () => {
  flights.clear();
  showServer(
    "lost",
    "server gone",
    "The server is gone. What you see is how it was; the page comes back by itself when the " +
      "server does.",
  );
});
feed.open();

/** Another manager counts from 1: what is shown of the one before would be mistaken for its own. */
function startAnew() {
  flights.clear();
  messages.clear();
  charts.clear();
  sampling.clear();
  people.forgetMessages();
}

function showServer(state, text, banner = "") {
  byId("live").dataset.state = state;
  setText(byId("live-text"), text);
  setText(byId("banner"), banner);
  stage.markOld(state === "lost");
}
