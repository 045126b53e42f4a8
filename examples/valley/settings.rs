//! The rules of the pictures and their settings.

use downhill::{
    Adadelta, Adagrad, Adam, Adamax, Adamw, Amsgrad, Lion, Momentum, Nadam, Nesterov, Optimizer,
    Rmsprop, Sgd, optimizer,
};

use crate::palette;

/// A rule with what a picture says about it.
pub struct Entry {
    pub name: &'static str,
    /// Its place among the rules that `train` knows, for the same color there and here.
    pub place: usize,
    pub settings: Vec<Setting>,
    pub rule: Box<dyn Optimizer>,
}

/// A hyper-parameter as text, like `γ = 0.9` or `β = 0.9/0.999`.
pub struct Setting {
    pub text: String,
    /// Is it what the library has by default?
    pub default: bool,
}

impl Entry {
    pub fn color(&self) -> plotters::style::RGBColor {
        palette::color(self.place)
    }
}

/// What courses show: plain descent, a little momentum, Adam.
pub fn course() -> Vec<Entry> {
    vec![sgd(0.05), momentum(0.05, 0.5), adam(0.1)]
}

/// Every rule, at a rate with which it arrives.
pub fn all() -> Vec<Entry> {
    vec![
        sgd(0.04),
        momentum(0.01, 0.9),
        nesterov(0.01, 0.9),
        adagrad(0.7),
        adadelta(1.0, 1e-3),
        rmsprop(0.1),
        adam(0.3),
        adamw(0.3, 0.1),
        amsgrad(0.3),
        adamax(0.3),
        nadam(0.3),
        lion(0.08, 0.9),
    ]
}

fn sgd(lr: f64) -> Entry {
    let default = Sgd::default();
    entry("sgd", 0, vec![setting("η", lr, default.lr)], optimizer(Sgd { lr, ..default }))
}

fn momentum(lr: f64, momentum: f64) -> Entry {
    let default = Momentum::default();
    let settings = vec![setting("η", lr, default.lr), setting("γ", momentum, default.momentum)];
    entry("momentum", 1, settings, optimizer(Momentum { lr, momentum, ..default }))
}

fn nesterov(lr: f64, momentum: f64) -> Entry {
    let default = Nesterov::default();
    let settings = vec![setting("η", lr, default.lr), setting("γ", momentum, default.momentum)];
    entry("nesterov", 2, settings, optimizer(Nesterov { lr, momentum, ..default }))
}

fn adagrad(lr: f64) -> Entry {
    let default = Adagrad::default();
    let settings = vec![setting("η", lr, default.lr), setting("ε", default.eps, default.eps)];
    entry("adagrad", 3, settings, optimizer(Adagrad { lr, ..default }))
}

fn adadelta(lr: f64, eps: f64) -> Entry {
    let default = Adadelta::default();
    let settings = vec![
        setting("ε", eps, default.eps),
        setting("η", lr, default.lr),
        setting("ρ", default.rho, default.rho),
    ];
    entry("adadelta", 4, settings, optimizer(Adadelta { lr, eps, ..default }))
}

fn rmsprop(lr: f64) -> Entry {
    let default = Rmsprop::default();
    let settings = vec![
        setting("η", lr, default.lr),
        setting("α", default.alpha, default.alpha),
        setting("ε", default.eps, default.eps),
    ];
    entry("rmsprop", 5, settings, Rmsprop { lr, ..default }.optimizer(false))
}

fn adam(lr: f64) -> Entry {
    let config = Adam { lr, ..Adam::default() };
    entry("adam", 7, betas(&config), optimizer(config))
}

fn adamw(lr: f64, weight_decay: f64) -> Entry {
    let mut settings = betas(&Adam { lr, ..Adam::default() });
    settings.insert(1, setting("λ", weight_decay, Adamw::default().weight_decay));
    entry("adamw", 8, settings, optimizer(Adamw { lr, weight_decay, ..Adamw::default() }))
}

fn amsgrad(lr: f64) -> Entry {
    let config = Adam { lr, ..Adam::default() };
    entry("amsgrad", 9, betas(&config), optimizer(Amsgrad(config)))
}

/// The settings of Adam and its relatives.
fn betas(config: &Adam) -> Vec<Setting> {
    let default = Adam::default();
    vec![
        setting("η", config.lr, default.lr),
        pair("β", [config.beta1, config.beta2], [default.beta1, default.beta2]),
        setting("ε", config.eps, default.eps),
    ]
}

fn adamax(lr: f64) -> Entry {
    let default = Adamax::default();
    let config = Adamax { lr, ..default };
    let settings = vec![
        setting("η", lr, default.lr),
        pair("β", [config.beta1, config.beta2], [default.beta1, default.beta2]),
        setting("ε", config.eps, default.eps),
    ];
    entry("adamax", 10, settings, optimizer(config))
}

fn nadam(lr: f64) -> Entry {
    let default = Nadam::default();
    let config = Nadam { lr, ..default };
    let settings = vec![
        setting("η", lr, default.lr),
        pair("β", [config.beta1, config.beta2], [default.beta1, default.beta2]),
        setting("ψ", config.momentum_decay, default.momentum_decay),
    ];
    entry("nadam", 11, settings, optimizer(config))
}

fn lion(lr: f64, beta2: f64) -> Entry {
    let default = Lion::default();
    let config = Lion { lr, beta2, ..default };
    let settings = vec![
        setting("η", lr, default.lr),
        pair("β", [config.beta1, config.beta2], [default.beta1, default.beta2]),
    ];
    entry("lion", 12, settings, optimizer(config))
}

fn entry(name: &'static str, place: usize, settings: Vec<Setting>, rule: Box<dyn Optimizer>) -> Entry {
    Entry { name, place, settings, rule }
}

fn setting(symbol: &str, value: f64, default: f64) -> Setting {
    Setting { text: format!("{symbol} = {}", short(value)), default: value == default }
}

fn pair(symbol: &str, [a, b]: [f64; 2], default: [f64; 2]) -> Setting {
    let text = format!("{symbol} = {}/{}", short(a), short(b));
    Setting { text, default: [a, b] == default }
}

fn short(value: f64) -> String {
    if value < 1e-3 { format!("{value:e}") } else { format!("{value}") }
}
