//! What makes an [`Optimizer`](crate::Optimizer) of a configuration: its kernels, its functions and its
//! reference, all of which a rule names in one place.

/// `kernels!(Sgd: 0, |config, w, g, [], _| sgd_step(w, g, config));`: the configuration, how many states it
/// has, and a call of its function. The reference's, of the same name, is called likewise.
///
/// A rule whose number of states depends on its hyper-parameters has one line per number; the first line
/// whose condition holds is used.
macro_rules! kernels {
    (
        $config:ty: $n:literal,
        |$this:ident, $w:ident, $g:ident, $state:pat_param, $t:pat_param| $function:ident($($argument:expr),*)
    ) => {
        $crate::rules::kernels!($config, |$this, $w, $g, $t| $n: $state => $function($($argument),*););
    };
    (
        $config:ty,
        |$this:ident, $w:ident, $g:ident, $t:pat_param|
        $($n:literal: $state:pat_param => $function:ident($($argument:expr),*) $(if $condition:expr)?;)+
    ) => {
        $(impl $crate::rule::Kernels<$n> for $config {
            fn plain_step(
                &self,
                isa: $crate::Isa,
                w: &mut [f32],
                g: &[f32],
                state: [&mut [f32]; $n],
                t: u64,
            ) -> Result<(), $crate::Error> {
                $crate::sweep::step(isa, self, t, w, g, state)
            }
        })+

        impl $crate::optimizer::Engine for $config {
            fn check_at(&self, t: u64) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::check_at::<$n, Self>($this, t),)+
                }
            }

            fn with_constants(
                &self,
                isa: $crate::Isa,
                t: u64,
                around: &$crate::optimizer::Around,
                then: &mut dyn FnMut(&dyn $crate::optimizer::Step),
            ) {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        $crate::sweep::with_constants::<$n, Self>(isa, $this, t, around, then);
                    })+
                }
            }

            fn replace(
                &mut self,
                mut fields: $crate::hyperparameter::Replaced<'_>,
            ) -> Result<(), $crate::Error> {
                *self = $crate::hyperparameter::Fields::map(self, &mut fields)?;
                Ok(())
            }

            fn boxed(&self) -> Box<dyn $crate::Optimizer> {
                Box::new(*self)
            }

            #[cfg(test)]
            fn call_function(
                &self,
                $w: &mut [f32],
                $g: &[f32],
                state: &mut [&mut [f32]],
                $t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let $state = $crate::rule::arrays::<Self, $n>(state)?;
                        $function($($argument),*)
                    })+
                }
            }
        }

        impl $crate::Optimizer for $config {
            fn name(&self) -> &'static str {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::name::<$n, Self>($this),)+
                }
            }

            fn states(&self) -> &'static [$crate::State] {
                let $this = self;
                match () {
                    $(() $(if $condition)? => $crate::rule::states::<$n, Self>($this),)+
                }
            }

            fn step_on(
                &self,
                isa: $crate::Isa,
                w: &mut [f32],
                g: &[f32],
                state: &mut [&mut [f32]],
                t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let state = $crate::rule::arrays::<Self, $n>(state)?;
                        $crate::rule::Kernels::<$n>::plain_step($this, isa, w, g, state, t)
                    })+
                }
            }

            fn reference_step(
                &self,
                $w: &mut [f32],
                $g: &[f32],
                state: &mut [&mut [f32]],
                $t: u64,
            ) -> Result<(), $crate::Error> {
                let $this = self;
                match () {
                    $(() $(if $condition)? => {
                        let $state = $crate::rule::arrays::<Self, $n>(state)?;
                        $crate::reference::$function($($argument),*)
                    })+
                }
            }
        }
    };
}
pub(crate) use kernels;
